// What gradio's controls leave out for those who go by keyboard, mended for the whole page.

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
document.addEventListener('click', ({target, detail}) => {
  const button = target.closest?.('button');
  pressed = button && button === document.activeElement && !detail  // by a key, of which there is no count
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
