// Rows are rebuilt when the points change; sizes and chosen strides only change what the rows say.
const host = element.querySelector('.strides');
const group = 'stride-' + Math.random().toString(36).slice(2);
function build() {
  host.replaceChildren(...(props.points || []).map((point, row) => {
    const field = make('fieldset', 'stride-row');
    field.dataset.layer = point.name;
    const legend = make('legend', 'sr-only', `Stride of ${point.name}`);
    const name = make('span', 'stride-name', point.label);
    name.title = point.name;
    const choices = make('span', 'stride-choices');
    for (const stride of point.choices) {
      const label = make('label', stride === point.teacher ? 'stride-choice teacher' : 'stride-choice');
      const input = make('input', '');
      Object.assign(input, {type: 'radio', name: `${group}-${row}`, value: stride});
      input.addEventListener('change', () => {
        props.value = {...props.value, [point.name]: stride};
        trigger('pick');
      });
      label.append(input, make('span', '', String(stride)));
      label.title = stride === point.teacher ? 'the teacher’s stride' : '';
      choices.append(label);
    }
    if (point.reason) choices.append(make('span', 'stride-fixed', `${point.teacher}, fixed: ${point.reason}`));
    field.append(legend, name, make('span', 'stride-size'), choices);
    return field;
  }));
  mark();
  size();
}
function mark() {
  for (const field of host.children)
    for (const input of field.querySelectorAll('input'))
      input.checked = Number(input.value) === (props.value || {})[field.dataset.layer];
}
function size() {
  for (const field of host.children)
    field.querySelector('.stride-size').textContent = (props.sizes || {})[field.dataset.layer] || '';
}
watch('points', build);
watch('value', mark);
watch('sizes', size);
build();
