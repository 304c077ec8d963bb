"""Who sent a request: the person who has signed in, the id that their browser keeps in a cookie, the secret that a
program sends, or else their page.

access.py asks this module for whatever event, endpoint or tool is being answered; gradio holds its request.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any

from gradio.context import LocalContext

from redistill.common.hub import own_token

from . import access

Message = MutableMapping[str, Any]
Receive, Send = Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "redistill_visitor"
DAYS = 400  # that a browser keeps it; no browser takes more
PAGES = ("/", "")  # what a browser opens: only there the cookie is given
SHORTEST_SECRET = 20  # characters; a shorter one could be another's too, a token of the Hub has 37


def names_of_request() -> list[str]:
    """The names of who sent the request that is being answered; none where it says nothing."""
    request = LocalContext.request.get(None)
    return names_of(request) if request is not None else []


def names_of(request: Any) -> list[str]:
    """The names that a request carries, the most lasting first. A name that could be made up is none: a sign-in is
    gradio's session, an id is signed, and the hash of a page is a secret of that page, as is what a program sends as
    "Authorization: Bearer". gradio hands on what agents (MCP) ask under one page for all of them: it names nobody."""
    inner = getattr(request, "request", None) or request
    found = [_signed_in(getattr(inner, "scope", {}).get("session"))]
    headers = getattr(inner, "headers", None) or {}
    kept = _cookie(headers)
    if access.is_signed(kept):
        found.append(f"browser:{kept.partition('.')[0]}")
    found += [f"secret:{secret}" for secret in _secrets(headers)]
    page = getattr(request, "session_hash", None)
    is_shared_page = headers.get("x-gradio-user") == "mcp"
    if isinstance(page, str) and page and not is_shared_page and not any(found):
        found.append(f"page:{page}")
    return [name for name in found if name]


def account_of_request() -> Mapping[str, Any] | None:
    """`account` of who sent the request that is being answered."""
    request = LocalContext.request.get(None)
    return account(request) if request is not None else None


def account(request: Any) -> Mapping[str, Any] | None:
    """What Hugging Face says of who has signed in (`sub`, `preferred_username`, `isPro`); None for others."""
    inner = getattr(request, "request", None) or request
    return _userinfo(getattr(inner, "scope", {}).get("session"))


def token_of_request() -> str | bool | None:
    """What requests to the Hub carry for who asks: the token of their sign-in; without one, on a laptop the person's
    own (None), on a Space nobody's (False). It is handed on and never noted."""
    request = LocalContext.request.get(None)
    inner = getattr(request, "request", None) or request
    token = (_sign_in(getattr(inner, "scope", {}).get("session")) or {}).get("access_token")
    return token if isinstance(token, str) and token else own_token()


def _userinfo(session: Any) -> Mapping[str, Any] | None:
    return (_sign_in(session) or {}).get("userinfo")


def _sign_in(session: Any) -> Mapping[str, Any] | None:
    """What gradio keeps of a sign-in that still holds."""
    info = session.get("oauth_info") if isinstance(session, Mapping) else None
    if not isinstance(info, Mapping) or not isinstance(info.get("userinfo"), Mapping):
        return None
    until = info.get("expires_at")
    return None if isinstance(until, (int, float)) and until < time.time() else info


def _signed_in(session: Any) -> str | None:
    who = (_userinfo(session) or {}).get("sub")
    return f"account:{who}" if isinstance(who, str) and who else None


def _cookie(headers: Mapping[str, str]) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """What a program sends with each request, of itself or as gradio_client does (`token=`)."""
    sent = (headers.get(name, "").partition(" ") for name in ("authorization", "x-hf-authorization"))
    found = (rest.strip() for kind, _, rest in sent if kind.lower() == "bearer")
    return [secret for secret in found if len(secret) >= SHORTEST_SECRET]


def keep_visitors(app: App) -> App:
    """The ASGI application around another that gives browsers without a valid id one, where the page is shared.

    A Space stands in a frame of huggingface.co, so its cookie is one of a third party: it says so, and is the frame's
    own (Partitioned). It is no script's (HttpOnly).
    """

    async def answer(scope: Message, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["path"] in PAGES and scope["method"] == "GET"
        sent = scope.get("headers", ()) if is_page else ()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent}
        if not is_page or not access.is_shared() or access.is_signed(_cookie(headers)):
            await app(scope, receive, send)
            return

        async def with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                line = _line(access.signed(), _is_secure(scope, headers))
                message = {**message, "headers": [*message.get("headers", ()), (b"set-cookie", line.encode())]}
            await send(message)

        await app(scope, receive, with_id)

    return answer


def _is_secure(scope: Message, headers: Mapping[str, str]) -> bool:
    return scope.get("scheme") == "https" or headers.get("x-forwarded-proto", "").startswith("https")


def _line(number: str, is_secure: bool) -> str:
    kept = f"{COOKIE}={number}; Max-Age={DAYS * 86400}; Path=/; HttpOnly"
    return f"{kept}; Secure; SameSite=None; Partitioned" if is_secure else f"{kept}; SameSite=Lax"
