// Asks for the accuracy of what the controls are set to once the hand rests: memory is redrawn first, and no click waits
// for this. Until the answer is there, what stands here is that of the settings before, and looks so.
let rest;
document.addEventListener(props.changed, () => {
  element.dataset.stale = '';
  clearTimeout(rest);
  rest = setTimeout(() => trigger('stale'), 300);
});
document.addEventListener(props.measured, () => trigger('stale'));
watch('value', () => {
  if (element.querySelector('[data-unmeasured]')) trigger('unmeasured');
});
