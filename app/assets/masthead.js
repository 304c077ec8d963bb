// Every tab has an address of its own, behind the #: it is opened by a link, kept by a reload, and the way back leads to
// the tab before. What stands before the #, Explore's settings, stays: gradio's <base> would have a plain # drop it, and
// a link to one load the page anew.
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
// Behind the #: the tab, and what its address goes on with where its settings are in it.
function place(tab) {
  const query = document.querySelector('#tabs').dataset[tab];
  return `#${tab}${query ? `?${query}` : ''}`;
}
function follow() {
  const now = shown();
  if (!now || nameOf(now) === asked()) return;
  history.pushState(history.state, '', `${location.pathname}${location.search}${place(nameOf(now))}`);
  teach();
}
function start() {
  if (!shown()) return setTimeout(start, 50);
  open(false);
  addEventListener('hashchange', open);
  addEventListener('popstate', open);
  document.addEventListener('click', event => {
    const link = event.target.closest('a[href^="#"]:not([target])');
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    location.hash = place(link.getAttribute('href').slice(1));
  });
  const settings = {subtree: true, attributeFilter: ['aria-selected']};
  setTimeout(() => new MutationObserver(follow).observe(document.querySelector('#tabs'), settings), 200);
}
start();
