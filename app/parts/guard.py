"""What stands before the page's server: names of other hosts and requests that are too large go no further."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ..visitors.uploaded import refuse_upload
from ..visitors.who import App, Message, Receive, Send
from ..words.places import is_shared

MOST_BODY = 8 * 2**20  # bytes of a request that is no upload; what the page sends has a few thousand
UPLOADS = ("/gradio_api/upload", "/upload")  # gradio bounds these by `max_file_size`
_FETCHED = re.compile("/file=[a-z]+:|/proxy=", re.IGNORECASE)  # what gradio would fetch from elsewhere and hand on
LOCAL = ("localhost", "127.0.0.1", "::1")


def hosts_of(address: str) -> frozenset[str] | None:
    """The names by which a page may be asked for that is served at `address`; None: any.

    One that is for this machine alone has no other name than this machine's. A site that a person visits could give its
    own name that address (DNS rebinding), and would use the page through the person's browser. $REDISTILL_HOSTS adds
    names, with commas between them, for who reaches the page through a proxy.
    """
    if address not in LOCAL or is_shared():
        return None
    also = os.environ.get("REDISTILL_HOSTS", "").lower().split(",")
    return frozenset({*LOCAL, *filter(None, map(str.strip, also))})


class Guard:
    """An ASGI application around another, which refuses in a sentence what must not reach it.

    A class, since that is what Starlette takes for a middleware.
    """

    def __init__(self, app: App, hosts: Iterable[str] | None = None, most_body: int = MOST_BODY) -> None:
        self.app, self.hosts, self.most_body = app, hosts, most_body

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])  # the names are lower case
        if self.hosts is not None and _name(headers.get(b"host", b"")) not in self.hosts:
            await _refuse(send, 403, "This page is served to this machine alone, by the name localhost.")
        elif is_shared() and _FETCHED.search(scope["path"]):
            await _refuse(send, 403, "This server fetches no addresses for others.")
        elif scope["path"].endswith(UPLOADS):
            said = headers.get(b"content-length", b"")
            if refusal := refuse_upload(int(said[:18]) if said.isdigit() else None):
                await _refuse(send, 413, refusal)
            else:
                await self.app(scope, receive, send)
        else:
            await self._bounded(scope, headers, receive, send)

    async def _bounded(self, scope: Message, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Pass on a request whose body is no larger than it may be, as it says and as it is."""
        said, taken, begun = headers.get(b"content-length", b""), 0, False
        too_large = f"The request is too large; expected at most {self.most_body:,} bytes."
        if said.isdigit() and (len(said) > 18 or int(said) > self.most_body):
            await _refuse(send, 413, too_large)
            return

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.most_body:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, counted, noted)
        except _TooLarge:
            if not begun:
                await _refuse(send, 413, too_large)


class _TooLarge(Exception):
    pass


def _name(host: bytes) -> str:
    """The name in a Host header, without its port."""
    text = host.decode("latin-1").strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = sentence.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})
