"""Controls of a form for settings, made from what their fields say, and what stands in them for None and for lists."""

from __future__ import annotations

from typing import Any

import gradio as gr

from redistill.common.settings import Setting

from .fields import NumberField

UNSET = "-"  # the choice that is None
MOST_BUTTONS = 5  # choices that stand side by side; more fold into a list


def make_control(
    setting: Setting, value: Any, boxed: bool = False, helped: bool = False, **look: Any
) -> gr.components.Component:
    """A control with the setting's label, limits and choices; `value` as of `to_page`. A tick may have a box around.
    `helped`: with what the shell says of the setting; `look` goes to gradio."""
    look |= {"label": setting.label, "info": sentence_of(setting) if helped else None}
    if setting.type is bool:
        return gr.Checkbox(value, container=boxed, **look)
    if setting.choices:
        options = [(title, choice) for choice, title in setting.choices.items()]
        if setting.optional:
            options.insert(0, (setting.empty, UNSET))
        if len(options) > MOST_BUTTONS:
            return gr.Dropdown(options, value=value, filterable=False, **look)
        return gr.Radio(options, value=value, **look)
    if setting.type is tuple:
        return gr.Textbox(value, placeholder="400, 600", max_length=200, min_width=120, **look)
    look["label"] = f"{setting.label} (empty: {setting.empty})" if setting.empty else setting.label
    return NumberField(value, minimum=setting.least, min_width=120, **look)


def sentence_of(setting: Setting) -> str | None:
    """The shell's help of a setting as a sentence; None where it has none."""
    return f"{setting.help[0].upper()}{setting.help[1:]}." if setting.help else None


def to_page(setting: Setting, value: Any) -> Any:
    """A setting's value as its control shows it."""
    if setting.type is tuple:
        return ", ".join(map(str, value))
    return UNSET if setting.choices and value is None else value


def from_page(setting: Setting, value: Any) -> Any:
    """What a control shows, whatever came from the page, as the setting's value; ValueError for what is no list."""
    if setting.type is tuple:
        parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else []
        is_text = isinstance(value, str) or value is None
        if not is_text or not all(part.isdecimal() and len(part) < 10 for part in parts):
            expected = "steps with commas, such as 400, 600"
            raise ValueError(f"{setting.said} is {str(value)[:80]!r}; expected {expected}.")
        return tuple(int(part) for part in parts)
    return None if setting.choices and setting.optional and value == UNSET else value
