// The link is that of this very document, which inside a Hugging Face Space is a frame on *.hf.space: it opens the app
// without the frame around it. It is brought up to date once the hand rests, so that no click waits for it and
// browsers, which allow a limited number of changes of the address, let it through. A copy in between asks for it at
// once. The clipboard may be out of reach (plain http, a frame without the permission); then the old command copies,
// and where that fails too the link is shown, ready to be copied by hand.
const button = element.querySelector('button');
const field = element.querySelector('input');
const said = element.querySelector('[role=status]');
const words = button.textContent;
const tab = props.tab;
const link = () => `${location.origin}${location.pathname}${tab ? `#${tab}` : ''}?${props.value}`;
let back, rest, kept = false, arrived = () => {}, fresh = Promise.resolve();
function refresh() {
  clearTimeout(rest);
  rest = undefined;
  fresh = new Promise(done => {
    arrived = done;
    setTimeout(done, 1000);  // nothing arrives for settings that do not fit
  });
  trigger('stale');
}
// Behind the #, where masthead.js finds what a tab's address goes on with. A step of the lesson shows a tab too.
const shows = name => name === tab || document.querySelector(`.lesson-step[data-step="${/^lesson-(\d)$/.exec(name)?.[1]}"]`)?.dataset.tab === tab;
function keepBehindTab() {
  document.querySelector('#tabs').dataset[tab] = props.value;
  const [name] = location.hash.slice(1).split('?');
  if (shows(name)) history.replaceState(history.state, '', `${location.pathname}${location.search}#${name}?${props.value}`);
}
if (tab) addEventListener('hashchange', () => {
  const [name, query] = location.hash.slice(1).split(/\?(.*)/s);
  if (!shows(name)) return;
  if (query && query !== props.value) trigger('opened', {query});
  else if (props.value) keepBehindTab();
});
else {
  document.addEventListener(props.changed, () => {
    clearTimeout(rest);
    rest = setTimeout(refresh, 300);
  });
  // The way back through history changes tabs and leaves the settings as they are shown, and so does the address, once
  // they are in it.
  addEventListener('popstate', () => {
    if (kept && !location.search.endsWith(props.value)) keepInSearch();
  });
}
function keepInSearch() {
  kept = true;
  const own = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__'));  // Gradio's own
  const query = [...own.map(pair => new URLSearchParams([pair]).toString()), props.value].join('&');
  history.replaceState(history.state, '', `?${query}${location.hash}`);
}
watch('value', () => {
  arrived();
  field.hidden = true;
  if (tab) keepBehindTab();
  else keepInSearch();
});
function say(text) {
  said.textContent = text;
  button.textContent = text || words;
  clearTimeout(back);
  if (text) back = setTimeout(() => say(''), 2000);
}
function copyField() {
  field.value = link();
  field.hidden = false;
  field.select();
  const copied = document.execCommand('copy');
  field.hidden = copied;
  if (copied) button.focus();
  return copied;
}
button.addEventListener('click', async () => {
  if (rest) refresh();
  await fresh;
  let copied = true;
  try {
    await navigator.clipboard.writeText(link());
    field.hidden = true;
  } catch {
    copied = copyField();
  }
  if (copied) say('Copied');
});
