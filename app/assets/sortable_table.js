// Draws the rows of one part of the value, sorted by one column.
const box = element.querySelector('.table-box');
const parts = element.querySelector('.switch');
let part = parts?.querySelector('button').dataset.part ?? '', titles = '', column, order, built = null, ticked = [];

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
  const {columns, sorted_by, parts: rows, note, ticked: before} = JSON.parse(built);
  ticked = before;
  const now = columns.map(one => one.title).join('\n');
  if (now !== titles) [titles, column, order] = [now, sorted_by, columns[sorted_by].order];
  for (const button of parts?.children ?? []) button.setAttribute('aria-pressed', button.dataset.part === part);
  element.querySelector('.note').textContent = note;
  const table = make('table', `facts sortable-table ${box.dataset.look}`);
  const head = table.createTHead().insertRow();
  if (box.dataset.ticks) head.append(Object.assign(make('th', 'tick', box.dataset.ticks), {scope: 'col'}));
  columns.forEach((one, i) => head.append(header(one, i)));
  const body = table.createTBody();
  for (const row of [...rows[part]].sort(compare)) body.append(line(row, columns));
  const {scrollTop, scrollLeft} = box, at = box.contains(document.activeElement) && document.activeElement;
  const [key, kind] = at ? [at.dataset.key, at.type] : [];
  box.replaceChildren(table);
  box.scrollTo(scrollLeft, scrollTop);
  if (key) [...box.querySelectorAll('[data-key]')].find(one => one.dataset.key === key && one.type === kind)?.focus();
  element.querySelector('.nothing').hidden = rows[part].length > 0;
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
  if (box.dataset.ticks) row.insertCell().append(tick(key, cells[columns.findIndex(one => one.names)], chosen));
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
function tick(key, name, checked) {
  const input = make('input', '');
  Object.assign(input, {type: 'checkbox', checked: Boolean(checked), ariaLabel: `${box.dataset.ticks} ${textOf(name)}`});
  input.dataset.key = key;
  return input;
}
function again(focus) {
  built = null;
  build();
  if (focus) box.querySelector(focus)?.focus();
}
// The rows of all parts in the order in which they came.
function csvLines({columns, parts: rows}) {
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
  if (row) {
    const key = row.querySelector('[data-key]').dataset.key;
    if (box.dataset.ticks) {  // shown at once, so that the next tick counts it before the answer is there
      ticked = ticked.includes(key) ? ticked.filter(one => one !== key) : [...ticked, key];
      row.querySelector('[type=checkbox]').checked = ticked.includes(key);
    }
    return trigger('pick', {part, key, ticked});
  }
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
watch('value', build);
// Rows are built when the table can be seen.
new ResizeObserver(build).observe(box);
build();
