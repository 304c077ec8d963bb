// Shows the frame that the slider stands at; all frames are on the page, so that no move waits for the server.
element.addEventListener('input', ({target}) => {
  if (!('frames' in target.dataset)) return;
  const frames = [...element.querySelectorAll('.stride-frame')];
  frames.forEach((frame, number) => frame.hidden = number !== Number(target.value));
  target.setAttribute('aria-valuetext', frames[target.value]?.querySelector('figcaption').textContent ?? '');
});
