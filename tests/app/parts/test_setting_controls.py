"""Controls that are made from the settings' fields."""

import gradio as gr

from app.parts.setting_controls import make_control
from redistill.common.settings import settings_of
from redistill.networks.red import REDConfig


def test_what_is_on_or_off_is_a_tick():
    settings = settings_of(REDConfig)
    made = {name: type(make_control(one, getattr(REDConfig(), name))) for name, one in settings.items()}
    ticks = dict.fromkeys(("gate", "residual_encoder", "residual_depthwise"), gr.Checkbox)
    assert made == dict.fromkeys(settings, gr.Radio) | ticks
