// Draws the rows of one part of the value, sorted by one column and narrowed to those that the filter's words are in.
const box = element.querySelector('.table-box');
const parts = element.querySelector('.switch');
const filter = element.querySelector('[type=search]');
let part = parts?.querySelector('button').dataset.part ?? '', titles = '', column, order, built = null;

// A cell is a number or a text, or [what it is sorted and saved by, the text that is shown].
const keyOf = cell => Array.isArray(cell) ? cell[0] : cell;
const textOf = cell => Array.isArray(cell) ? cell[1] : typeof cell === 'number' ? cell.toLocaleString('en') : cell;

// Rows without a figure stand at the end, whichever way the others are sorted.
function compare(a, b) {
  [a, b] = [keyOf(a.cells[column]), keyOf(b.cells[column])];
  return (a === null) - (b === null) || order * (a < b ? -1 : a > b ? 1 : 0);
}
function build() {
  if (!props.value || !box.offsetWidth || built === props.value) return;
  built = props.value;
  const {columns, sorted_by, parts: rows, note} = JSON.parse(built);
  const now = columns.map(one => one.title).join('\n');
  if (now !== titles) [titles, column, order] = [now, sorted_by, columns[sorted_by].order];
  for (const button of parts?.children ?? []) button.setAttribute('aria-pressed', button.dataset.part === part);
  element.querySelector('.note').textContent = note;
  const table = make('table', `facts sortable-table ${box.dataset.look}`);
  const head = table.createTHead().insertRow();
  columns.forEach((one, i) => head.append(header(one, i)));
  const body = table.createTBody();
  for (const row of [...rows[part]].sort(compare)) body.append(line(row, columns));
  box.replaceChildren(table);
  narrow();
}
function header({title, order: first}, i) {
  const cell = make('th', '', first ? '' : title);
  cell.scope = 'col';
  if (!first) return cell;
  const button = make('button', 'plain', title + (i === column ? (order > 0 ? ' ↑' : ' ↓') : ''));
  button.type = 'button';
  button.dataset.column = i;
  if (i === column) cell.ariaSort = order > 0 ? 'ascending' : 'descending';
  cell.append(button);
  return cell;
}
// The cell that names the row holds a button, for the keyboard; a click anywhere in the row is one on it.
function line({cells, key, kind = '', below, chosen}, columns) {
  const row = make('tr', kind);
  if (chosen) row.ariaSelected = 'true';
  cells.forEach((cell, i) => {
    const place = row.insertCell();
    if (!columns[i].names) return place.append(textOf(cell));
    const button = make('button', 'plain', textOf(cell));
    button.type = 'button';
    button.dataset.key = key ?? textOf(cell);
    if (box.dataset.hint) button.title = `${box.dataset.hint} ${textOf(cell)}`;
    place.append(button);
    if (below) place.append(make('span', 'row-below', below));
    place.className = 'row-name';
  });
  return row;
}
function narrow() {
  if (!filter) return;
  const words = filter.value.toLowerCase().split(/\s+/);
  const rows = [...box.querySelectorAll('tbody tr')];
  for (const row of rows) {
    const text = row.querySelector('.row-name').textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
  element.querySelector('.nothing').hidden = !rows.length || rows.some(row => !row.hidden);
}
function again(focus) {
  built = null;
  build();
  if (focus) box.querySelector(focus)?.focus();
}
// The value's own lines, or else the rows of all parts in the order in which they came.
function csvLines({csv, columns, parts: rows}) {
  if (csv) return csv;
  const plain = cell => typeof cell === 'string' ? cell.replaceAll('×', 'x') : cell;
  const lines = Object.entries(rows).flatMap(([name, own]) =>
    own.map(({cells}) => [...(parts ? [name] : []), ...cells.map(cell => plain(keyOf(cell)))]));
  return [[...(parts ? [box.dataset.parts] : []), ...columns.map(one => one.csv)], ...lines];
}
function saveCsv(value) {
  const quoted = cell => /[",\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell;
  const text = csvLines(value).map(cells => cells.map(quoted).join(',') + '\n').join('');
  saveFile(text, 'text/csv', `${value.file}.csv`);
}
element.addEventListener('click', event => {
  const row = event.target.closest('tbody tr');
  if (row) return trigger('pick', {part, key: row.querySelector('[data-key]').dataset.key});
  const data = event.target.closest('button')?.dataset;
  if (!data) return;
  if ('csv' in data) saveCsv(JSON.parse(props.value));
  if ('part' in data) {
    part = data.part;
    again();
  }
  if ('column' in data) {
    const chosen = Number(data.column);
    order = chosen === column ? -order : JSON.parse(props.value).columns[chosen].order;
    column = chosen;
    again(`[data-column='${chosen}']`);
  }
});
// Charts point at the row under the pointer or the focus.
function point(event) {
  const key = event.target.closest('tbody tr')?.querySelector('[data-key]').dataset.key;
  document.dispatchEvent(new CustomEvent('point-mark', {detail: key}));
}
for (const kind of ['mouseover', 'mouseleave', 'focusin', 'focusout']) box.addEventListener(kind, point);
filter?.addEventListener('input', narrow);
watch('value', build);
// Rows are built when the table can be seen.
new ResizeObserver(build).observe(box);
build();
