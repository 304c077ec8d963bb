"""One control for each pooling point: a row of native radio buttons, with the map sizes before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

MAX_POINTS = 64

# Rows are rebuilt when the points change; sizes and chosen strides only change what the rows say. Text is set as
# textContent, so a layer's name can carry no markup into the page.
_ROWS = """
const host = element.querySelector('.strides');
const group = 'stride-' + Math.random().toString(36).slice(2);
const make = (tag, name, text = '') => Object.assign(document.createElement(tag), {className: name, textContent: text});
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
"""

class StridePicker(gr.HTML):
    """A gradio component whose value maps layer paths to strides, e.g. `{"conv1": 4, "maxpool": 1}`.

    `points` are dicts of name, label, choices and teacher (its stride); `sizes` maps names to a short text such as
    "64 → 16 px". What comes back from the page is checked for its form; ValueError otherwise. `pick` is triggered
    when the person chooses a stride.
    """

    def __init__(
        self,
        value: Mapping[str, int] | None = None,
        *,
        points: Sequence[Mapping[str, Any]] = (),
        sizes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        # Attributes too: gradio takes a missing one that the script names in quotes for an event of this component, and
        # then copies the component, with the server that it belongs to, each time a page is opened.
        self.points = [dict(point) for point in points]
        self.sizes = dict(sizes or {})
        super().__init__(
            dict(value or {}),
            html_template='<div class="strides"></div>',
            js_on_load=_ROWS,
            points=self.points,
            sizes=self.sizes,
            **kwargs,
        )

    def postprocess(self, value: Mapping[str, int] | None) -> dict[str, int] | None:
        return None if value is None else dict(value)

    def preprocess(self, payload: Any) -> dict[str, int]:
        return check_strides_form(payload)

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "strides by layer path", "additionalProperties": {"type": "integer"}}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def check_strides_form(value: Any) -> dict[str, int]:
    """`value` as a mapping of layer paths to whole numbers; ValueError for anything else."""
    if not isinstance(value, Mapping) or len(value) > MAX_POINTS:
        raise ValueError("Strides must map layer paths to whole numbers, such as {'conv1': 4}.")
    for name, stride in value.items():
        if not isinstance(name, str) or isinstance(stride, bool) or not isinstance(stride, int):
            raise ValueError(
                f"Stride of {str(name)[:80]!r} is {str(stride)[:80]!r}; expected a whole number such as 1 or 2."
            )
    return dict(value)
