"""What the server answers where an event fails: always a sentence; a refusal where what was sent does not fit."""

from __future__ import annotations

import functools
import json
import traceback
from contextvars import ContextVar
from typing import Any

import gradio as gr
from gradio import queueing, utils

from ..visitors.who import App, Message, Receive, Send

FAILED = "This failed on the server; its log says why."
MISFIT = "What was sent does not fit this event; expected all of its values, of the kinds that /gradio_api/info tells."
OURS = ("app", "redistill")  # packages
_refusals: ContextVar[list[str] | None] = ContextVar("refusals", default=None)  # of the request that is answered


def tell_failures() -> None:
    """Let gradio name a sentence for every failure: it has one for its own errors alone, and `null` for all others."""
    if hasattr(utils.error_payload, "__wrapped__"):
        return
    say = utils.error_payload

    @functools.wraps(say)
    def say_always(error: BaseException | None, show_error: bool) -> dict[str, Any]:
        content = say(error, show_error)
        is_refusal = isinstance(error, gr.Error) or not _is_of_ours(error)
        if not content["error"]:
            content |= {"error": MISFIT if is_refusal else FAILED, "visible": True}
        if is_refusal and (refusals := _refusals.get()) is not None:
            refusals.append(content["error"])
        return content

    for module in (utils, queueing):
        module.error_payload = say_always


def _is_of_ours(error: BaseException | None) -> bool:
    """Whether it was raised while code of this project ran: gradio had read what was sent by then."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__ if error else None))
    names = (frame.f_globals.get("__name__", "") for frame in frames)
    return any(name.partition(".")[0] in OURS for name in names if name != __name__)


def refusals_as_400(app: App) -> App:
    """The ASGI application around another, in which gradio's 500 for a refusal is a 400: the request is at fault.

    So is one that gradio's own routes break over, such as half a letter or an event that is not there.
    """

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        refusals: list[str] = []
        begun = False

        async def told(message: Message) -> None:
            nonlocal begun
            begun, is_start = True, message["type"] == "http.response.start"
            await send({**message, "status": 400} if is_start and message["status"] == 500 and refusals else message)

        token = _refusals.set(refusals)
        try:
            await app(scope, receive, told)
        except Exception as error:
            if scope["type"] != "http" or begun:
                raise
            if is_fault := _is_of_ours(error):
                traceback.print_exc()
            await _say(send, 500 if is_fault else 400, FAILED if is_fault else MISFIT)
        finally:
            _refusals.reset(token)

    return answer


async def _say(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
