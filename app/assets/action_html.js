element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (button) trigger('act', {...button.dataset});
});
