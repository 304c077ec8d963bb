"""What the page's own tables share in the browser: cells, heads that sort, CSV files. JavaScript as text."""

from __future__ import annotations

# Text is set as textContent, so a name can carry no markup. `header` takes a column ({title, order}; 0: it does not
# sort), its number, and how the table is sorted by it now: 1 upwards, -1 downwards, else 0 or false.
TABLE_TOOLS = """
const make = (tag, name, text = '') => Object.assign(document.createElement(tag), {className: name, textContent: text});
function header(one, i, sorted) {
  const cell = make('th', '', one.order ? '' : one.title);
  cell.scope = 'col';
  if (!one.order) return cell;
  const button = make('button', 'plain', one.title + (sorted ? (sorted > 0 ? ' ↑' : ' ↓') : ''));
  button.type = 'button';
  button.dataset.column = i;
  if (sorted) cell.ariaSort = sorted > 0 ? 'ascending' : 'descending';
  cell.append(button);
  return cell;
}
function saveCsv(lines, file) {
  const quoted = cell => /[",\\n]/.test(cell) ? `"${String(cell).replaceAll('"', '""')}"` : cell;
  const text = lines.map(line => line.map(quoted).join(',') + '\\n').join('');
  const link = make('a', '');
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/csv'}));
  link.download = `${file}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
"""
