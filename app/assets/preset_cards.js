// Cards are rebuilt when their facts arrive; lists that a person has opened stay open.
const host = element.querySelector('.preset-cards');
const group = 'preset-' + Math.random().toString(36).slice(2);
function card({name, title, facts}) {
  const label = make('label', 'preset-card');
  const input = Object.assign(make('input', ''), {type: 'radio', name: group, value: name});
  input.setAttribute('aria-label', title);
  input.addEventListener('change', () => {
    props.value = name;
    trigger('pick');
  });
  const words = make('span', 'preset-facts', facts);
  if (facts) {
    words.id = `${group}-${name}`;
    input.setAttribute('aria-describedby', words.id);
  }
  label.append(input, make('span', 'preset-title', title), words);
  return label;
}
function build() {
  const open = new Set([...host.querySelectorAll('details[open] > summary')].map(head => head.textContent));
  const lists = typeof props.lists === 'string' ? JSON.parse(props.lists) : props.lists || [];
  host.replaceChildren(...lists.map((list, place) => {
    const box = make(place ? 'details' : 'fieldset', 'preset-list');
    box.append(make(place ? 'summary' : 'legend', '', list.title), ...list.cards.map(card));
    if (place) box.open = open.has(list.title);
    return box;
  }));
  mark();
}
function mark() {
  for (const input of host.querySelectorAll('input')) input.checked = input.value === props.value;
}
watch('lists', build);
watch('value', mark);
build();
