"""Who asks, and what is theirs. On a Space each visitor sees and touches what they made themselves, and all see what
ships; on a laptop everything is the person's. The check stands here, and `jobs`, `choices` and the data panel ask it,
so no handler, endpoint or tool can go around it.

A visitor is known by one or more names: a person who has signed in, the random id that their browser keeps, a secret
that their program sends, or, where none is sent, their page. Files hold only hashes of these. No gradio: who asks is
told by `ask_by`, see who.py.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from redistill.common.cache import cache_dir
from redistill.common.hub import is_hub_id

from ..words.places import is_shared

KINDS = ("upload", "teacher")  # of what is brought in; a run notes its owner in a file of its own
_KEY = ".visitors.key"
_askers: list[Callable[[], Sequence[str]]] = []  # the last one counts; none: nobody can be told from anybody


def ask_by(names: Callable[[], Sequence[str]]) -> None:
    """From now on `names` gives the names of who asks, the one that new things are filed under first."""
    _askers[:] = [names]


def owner() -> str | None:
    """What a thing that is made now belongs to; None where everything is the person's.

    ValueError for a visitor who cannot be told from others: nobody could find the thing again.
    """
    if not is_shared():
        return None
    if not (names := _names()):
        raise ValueError(
            "Nobody can tell whose this would be: the request came without a cookie, a session or a sign-in; open the "
            "page in a browser, use gradio_client, which names its session, or let an agent send “Authorization: "
            "Bearer” with a secret of your own, of 20 characters or more."
        )
    return _digest(names[0])


def is_theirs(noted: object) -> bool:
    """Whether what belongs to `noted`, as `owner` gave it, is of who asks."""
    return not is_shared() or noted in [_digest(name) for name in _names()]


def claim(kind: str, name: str) -> None:
    """Note that who asks has brought a thing in; of several who bring the same, it is each one's."""
    if (own := owner()) is not None:
        folder = _claims(kind, name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / own).touch()


def has_claimed(kind: str, name: str) -> bool:
    """Whether a thing was brought in by who asks."""
    if not is_shared():
        return True
    folder = _claims(kind, name)
    return any((folder / _digest(known)).exists() for known in _names())


def count_claims() -> int:
    """How much of what was brought in is of who asks."""
    own = [_digest(known) for known in _names()]
    return sum(any((folder / name).exists() for name in own) for folder in (cache_dir() / "claims").glob("*"))


def disown(kind: str, name: str) -> bool:
    """Who asks claims a thing no more; whether nobody else does either, so that it can be deleted."""
    if not is_shared():
        return True
    folder = _claims(kind, name)
    for known in _names():
        (folder / _digest(known)).unlink(missing_ok=True)
    return not any(folder.iterdir()) if folder.is_dir() else True


def forget(kind: str, name: str) -> None:
    """Nobody claims a thing any more: it is deleted."""
    shutil.rmtree(_claims(kind, name), ignore_errors=True)


def check_dataset(name: object) -> None:
    """ValueError for pictures that are not for who asks: another's upload, or on a Space a folder of the server."""
    kind, _, rest = str(name).partition(":")
    if kind == "upload" and not has_claimed("upload", rest):
        raise ValueError(f"There is no upload {rest[:80]!r} here any more; bring the pictures in again.")
    if kind == "folder" and is_shared():
        raise ValueError("Folders are read from the command line only; upload the folder here.")


def check_ddpm(source: str) -> None:
    """ValueError for a diffusion network in a folder of the server."""
    if is_shared() and not is_hub_id(source):
        raise ValueError(
            f"{source[:200]!r} is no Hub id, and folders of this machine are not open to visitors; expected an id such "
            "as google/ddpm-cifar10-32."
        )


def signed(number: str | None = None) -> str:
    """A visitor's id for the browser to keep, a random one unless it is given, which nobody else can make up."""
    number = number or secrets.token_hex(16)
    return f"{number}.{hmac.new(_key(cache_dir()), number.encode(), 'sha256').hexdigest()}"


def is_signed(text: object) -> bool:
    """Whether a text is an id that `signed` gave."""
    if not isinstance(text, str) or len(text) != 97 or not text.isascii():
        return False
    return hmac.compare_digest(text, signed(text.partition(".")[0]))


@lru_cache(maxsize=16)
def _key(folder: Path) -> bytes:
    """The secret beside what it guards, which lives as long; where it cannot be written, one of this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(os.open(folder / _KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    except OSError:
        return secrets.token_bytes(32)
    return (folder / _KEY).read_bytes() or secrets.token_bytes(32)


def _names() -> list[str]:
    return [name for name in _askers[0]() if name] if _askers else []


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:40]


def _claims(kind: str, name: str) -> Path:
    if kind not in KINDS:
        raise ValueError(f"Kind is {kind!r}; expected one of {KINDS}.")
    return cache_dir() / "claims" / f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:40]}"
