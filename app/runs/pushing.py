"""A run's network on the Hub, pushed with the token of who asks. No gradio."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from redistill.deploy import publish

from . import exports, run_list, saved

SIGN_IN = (
    "Nobody's token is used here but your own; sign in with Hugging Face, by the button above the tabs, or, in a "
    "program, give a token that may write."
)


def push_run(
    name: str, repo: str, private: bool = False, token: str | bool | None = None, runtimes: Sequence[str] = ()
) -> str:
    """Push what `saved.write_student` writes of a run to the model repository `owner/name`, and return its address.

    token: of who asks, as `visitors.who.token_of_request` gives it; runtimes: some of `exports.KINDS`, of a run that
    has finished. Raises ValueError, in one sentence, as `publish.push` does, and where nobody has signed in.
    """
    run = run_list.read_run(name)
    if token is False:
        raise ValueError(SIGN_IN)
    publish.check_repository(repo)
    with tempfile.TemporaryDirectory(prefix="redistill-push-") as place:
        folder = saved.write_student(name, Path(place))
        of_run = (run.path, run.name)
        made = {kind: exports.write_export(*of_run, kind, Path(place))[0] for kind in dict.fromkeys(runtimes)}
        return publish.push(folder, repo, token, private, made)
