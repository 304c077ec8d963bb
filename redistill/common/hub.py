"""Repositories of the Hugging Face Hub: fetched into its cache, found there without a network, told of in sentences."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

MOST = "REDISTILL_MOST_DOWNLOAD"  # in the environment: bytes of a repository that are fetched at most, whoever asks
_PART = r"[A-Za-z0-9_][\w.-]{0,99}"  # of an id or a revision: no way out of the cache's folders is one
SET = rf"(?P<repo>{_PART}(/{_PART})?)"  # in regular expressions: a data set, of which old ones are called `name` alone
REVISION = rf"(@(?P<revision>{_PART}(/{_PART}){{0,9}}))?"
_ID = re.compile(rf"(?P<repo>{_PART}/{_PART}){REVISION}", re.ASCII)
_ADDRESS = re.compile(
    r"(https?://)?(www\.)?(huggingface\.co|hf\.co)/(datasets/)?(?P<repo>[^/?#]+/[^/?#]+)"
    r"(/(tree|blob)/(?P<revision>[^/?#]+))?([/?#].*)?"
)


def split_id(text: str) -> tuple[str, str | None] | None:
    """`owner/name`, and the revision if there is one, of `owner/name@revision` or its address on huggingface.co; None
    for any other text, a path among them."""
    found = _ID.fullmatch(hub_id(text))
    return (found["repo"], found["revision"]) if found else None


def is_hub_id(text: str) -> bool:
    """Whether a text is what `split_id` takes."""
    return split_id(text) is not None


def own_token() -> bool | None:
    """What requests to the Hub carry: the person's own token where there is one (None), and on a Space none (False).

    There the token is its owner's, and would open their private repositories to every visitor.
    """
    return False if "SPACE_ID" in os.environ else None


def hub_id(text: str) -> str:
    """`owner/name` or `owner/name@revision` of a repository's address on huggingface.co; any other text as it is."""
    text = text.strip()
    found = _ADDRESS.fullmatch(text)
    if not found:
        return text
    return found["repo"] + (f"@{found['revision']}" if found["revision"] else "")


def fetch(
    repo: str,
    *,
    title: str,
    most_bytes: int,
    repo_type: str = "model",
    revision: str | None = None,
    files: Sequence[str] | None = None,
    token: str | bool | None = None,
    cache: Path | None = None,
) -> Path:
    """The folder of a repository in the Hub's cache, complete when the Hub can be reached.

    repo: `owner/name`; title: what a sentence calls it; most_bytes: the largest download, what the cache holds already
    left out ($REDISTILL_MOST_DOWNLOAD where that is less); repo_type: "model" or "dataset"; files: names of those
    wanted (default: all); token: of who asks (default: `own_token`); cache: another folder for it than the Hub's own
    cache. Raises ValueError for a larger download, for a repository that the Hub does not give, and for one not in the
    cache without a network.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import DryRunError, HfHubHTTPError, LocalEntryNotFoundError

    where = {"repo_id": repo, "repo_type": repo_type, "revision": revision, "allow_patterns": files}
    where |= {"token": own_token() if token is None else token, "cache_dir": cache}
    most_bytes = min(most_bytes, int(os.environ.get(MOST) or most_bytes))
    command = f"`hf download {repo}{'' if repo_type == 'model' else f' --repo-type {repo_type}'}`"
    try:
        try:
            wanted = snapshot_download(**where, dry_run=True)
        except DryRunError:  # no network
            wanted = []
        missing = sum(file.file_size for file in wanted if file.will_download)
        if missing > most_bytes:
            size, unit = (2**30, "GiB") if most_bytes >= 2**30 else (2**20, "MiB")
            raise ValueError(
                f"{title} is {missing / size:.0f} {unit} to download; expected at most {most_bytes / size:.0f}. "
                f"What {command} has fetched is taken."
            )
        return Path(snapshot_download(**where))
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"{title} is not in {constants.HF_HUB_CACHE} and the Hub cannot be reached; connect to the network, or "
            f"copy what {command} puts there on another machine."
        ) from error
    except HfHubHTTPError as error:  # no such repository or revision, gated, private
        kind = "" if repo_type == "model" else "data set "
        raise ValueError(
            f"The Hub does not give {kind}{repo} ({refusal(error)}); check its id and your access."
        ) from error


@contextlib.contextmanager
def asking(token: str | bool | None, refused: Callable[[HfHubHTTPError], str], unreached: str) -> Iterator[HfApi]:
    """A block that asks the Hub in the name of a token (None: that of `hf auth login`; False: nobody's).

    What the Hub refuses is a ValueError with the sentence that `refused` makes of it, and one with the sentence
    `unreached` says that there is no network.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        yield HfApi(token=get_token() if token is None else token)
    except HfHubHTTPError as error:
        raise ValueError(refused(error)) from error
    except LocalTokenNotFoundError as error:
        raise ValueError("There is no token of Hugging Face here; run `hf auth login`, or set HF_TOKEN.") from error
    except Exception as error:
        offline = isinstance(error, (OfflineModeIsEnabled, ConnectionError, TimeoutError))
        # Of the client that the Hub's package brings, whichever that is by now.
        if not offline and not any(base.__name__ == "TransportError" for base in type(error).__mro__):
            raise
        raise ValueError(unreached) from error


def refusal(error: HfHubHTTPError) -> str:
    """Why the Hub refused a request, in a few words: its client's text ends in advice and addresses."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    for kind, words in (
        (GatedRepoError, "it is gated"),
        (RepositoryNotFoundError, "there is none of that name, or it is private"),
        (RevisionNotFoundError, "it has no such revision"),
    ):
        if isinstance(error, kind):
            return words
    return (error.server_message or f"status {error.response.status_code}").strip().rstrip(".")
