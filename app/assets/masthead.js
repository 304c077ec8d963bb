// Every tab has an address of its own, behind the #: it is opened by a link, kept by a reload, and the way back leads to
// the tab before.
const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper button[role=tab], #tabs > .tab-nav button[role=tab]')];
const nameOf = tab => tab.textContent.trim().toLowerCase();
const shown = () => tabs().find(tab => tab.getAttribute('aria-selected') === 'true');
const named = () => location.hash.slice(1).split('?')[0];
// A step of the lesson, '#lesson-3', has a tab and maybe an accordion that it opens.
const step = () => document.querySelector(`.lesson-step[data-step="${/^lesson-(\d)$/.exec(named())?.[1]}"]`);
const asked = () => step()?.dataset.tab ?? ((named() === 'fit' ? 'explore' : named()) || 'explore');
function teach() {
  const now = step();
  document.querySelector('#lesson').hidden = !now;
  for (const one of document.querySelectorAll('.lesson-step')) one.hidden = one !== now;
  if (now?.dataset.fold) unfold(now.dataset.fold, 100);
}
// What is asked for is drawn a moment after its tab.
function unfold(id, tries) {
  const fold = document.querySelector(`#${id} button.label-wrap`);
  if (fold && !fold.classList.contains('open')) fold.click();
  if (!fold && tries) setTimeout(unfold, 50, id, tries - 1);
}
// A step asks about settings: an address that names it alone, typed or kept without them, is given them once. The way
// back to a step leaves what a hand has changed there.
function set(moved) {
  const query = step()?.dataset.query, lesson = named();
  if (!query || history.state?.lesson === lesson) return;
  if (moved ? location.search !== query : !location.search) return location.replace(`${query}#${lesson}`);
  history.replaceState({...history.state, lesson}, '');
}
function open(moved) {
  set(moved);
  teach();
  const tab = tabs().find(tab => nameOf(tab) === asked());
  if (tab && tab !== shown()) tab.click();
}
function follow() {
  const now = shown();
  if (!now || nameOf(now) === asked()) return;
  const query = document.querySelector('#tabs').dataset[nameOf(now)];  // of a tab whose settings are in its address
  history.pushState(history.state, '', `#${nameOf(now)}${query ? `?${query}` : ''}`);
  teach();
}
function start() {
  if (!shown()) return setTimeout(start, 50);
  open(false);
  addEventListener('hashchange', open);
  addEventListener('popstate', open);
  const settings = {subtree: true, attributeFilter: ['aria-selected']};
  setTimeout(() => new MutationObserver(follow).observe(document.querySelector('#tabs'), settings), 200);
}
start();

// gradio's accordions do not say whether they are open.
const say = fold => fold.setAttribute('aria-expanded', fold.classList.contains('open'));
for (const event of ['focusin', 'click'])
  document.addEventListener(event, ({target}) => {
    const fold = target.closest?.('button.label-wrap');
    if (fold) requestAnimationFrame(() => say(fold));
  });

// gradio gives each choice of a group a name of its own, so that arrows would not move between them.
document.addEventListener('keydown', event => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key], chosen = event.target;
  if (!step || chosen.type !== 'radio' || !/^radio-/.test(chosen.name)) return;
  const all = [...chosen.closest('fieldset').querySelectorAll('input[type=radio]:enabled')];
  const next = all.at((all.indexOf(chosen) + step) % all.length);
  event.preventDefault();
  next.focus();
  next.click();
});

// A button that is pressed and then waits, or goes, leaves the keyboard nowhere: it gets the focus again once it can be
// pressed, and where it has gone what stood nearest to it does.
let pressed;
const stops = 'button, a[href], input, select, textarea';
const isSeen = node => node.isConnected && node.checkVisibility({visibilityProperty: true});
document.addEventListener('click', ({target}) => {
  const button = target.closest?.('button');
  pressed = button && button === document.activeElement
    ? {button, around: [...document.querySelectorAll(stops)].filter(isSeen)} : undefined;
}, true);
document.addEventListener('focusin', ({target}) => {
  if (target !== pressed?.button) pressed = undefined;
});
setInterval(() => {
  if (!pressed || document.activeElement !== document.body) return;
  const {button, around} = pressed, place = around.indexOf(button);
  const near = isSeen(button) ? [button] : [...around.slice(0, place).reverse(), ...around.slice(place + 1)];
  near.find(node => isSeen(node) && !node.disabled)?.focus({preventScroll: true});
}, 200);

// gradio opens a list a moment after any key in its box: also after the one that leaves it, and it then stays open. And
// what scrolls, as a list does, is a stop on the way of that key.
const isBox = node => node.getAttribute?.('role') === 'combobox';
document.addEventListener('keydown', event => {
  if (event.key !== 'Tab' || !isBox(event.target)) return;
  event.stopPropagation();
  document.getElementById(event.target.getAttribute('aria-controls'))?.setAttribute('tabindex', '-1');
}, true);
function close(box, tries) {
  if (box === document.activeElement || !tries) return;
  const isOpen = box.getAttribute('aria-expanded') === 'true';
  if (isOpen) box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
  setTimeout(close, 50, box, tries - 1);
}
document.addEventListener('focusout', ({target}) => {
  if (isBox(target)) close(target, 4);
});
