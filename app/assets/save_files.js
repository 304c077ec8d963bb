element.addEventListener('click', event => {
  const button = event.target.closest('[data-save]');
  if (button) trigger('ask', {save: button.dataset.save});
});
watch('value', () => {
  if (!props.value) return;
  const {name, text, base64, url} = JSON.parse(props.value);
  if (url) Object.assign(make('a', ''), {href: url, download: name}).click();
  else if (base64) saveFile(Uint8Array.from(atob(base64), byte => byte.charCodeAt(0)), 'application/octet-stream', name);
  else saveFile(text, 'text/plain', name);
});
