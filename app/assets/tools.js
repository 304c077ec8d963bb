// What several components use. Text is set as textContent, so that a name can carry no markup into the page.
const make = (tag, name, text = '') => Object.assign(document.createElement(tag), {className: name, textContent: text});
// Lets the browser save `content`, a text or bytes, in a file of that name.
function saveFile(content, type, name) {
  const link = make('a', '');
  link.href = URL.createObjectURL(new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
