"""What is on disk or on the Hub: checkpoints by folder or by the name of one that ships, DDPMs by folder or Hub id.

Any unconditional DDPM of diffusers will do, such as google/ddpm-cifar10-32. Of a repository only the configs and the
weights in safetensors are downloaded; no code of it is run and nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusers.configuration_utils import FrozenDict

from ..common.cache import cache_dir
from ..common.files import read_json
from ..common.hub import fetch, hub_id, split_id
from ..common.modules import weightless
from ..networks.names import is_own
from ..networks.student import StudentConfig
from ..networks.unet import UNet
from ..networks.zoo import DDPM
from .pipeline import INDEX, build_unet, check_index, load_scheduler
from .unet_weights import PATTERNS, WEIGHTS, find_weight_files

# Checkpoints that ship with the project; $REDISTILL_CHECKPOINTS names another folder of them.
SHIPPED = Path(os.environ.get("REDISTILL_CHECKPOINTS") or Path(__file__).resolve().parent.parent.parent / "checkpoints")
CONFIG = "config.json"  # in every checkpoint's folder, see metadata.py
MODEL = "model.safetensors"  # weights of a classifier
ON_HUB = "hub:"  # before the id of a checkpoint on the Hub
MAX_DOWNLOAD = 4 * 2**30  # bytes; what is larger must be in the Hub's cache before
_CONFIGS = (INDEX, "config.json", "scheduler_config.json", "unet/config.json", "scheduler/scheduler_config.json")
_FILES = (*_CONFIGS, *PATTERNS, *(f"unet/{name}" for name in PATTERNS))
_CHECKPOINT = (*_FILES, MODEL, "strides.*")  # its code is not among them


def find_checkpoint(folder: str | Path) -> Path:
    """The folder itself, or the checkpoint of that name that ships or was imported; "hub:owner/name" one of the Hub.

    ValueError, with those that ship, for none of these.
    """
    if isinstance(folder, str) and folder.startswith(ON_HUB):
        return fetch_checkpoint(folder)
    for path in (Path(folder), SHIPPED / folder, imported_dir() / folder):
        if (path / CONFIG).is_file():
            return path
    raise ValueError(
        f"No checkpoint {str(folder)!r}; expected a folder with a config.json, or {_one_of(list_shipped())}."
    )


def fetch_checkpoint(
    source: str,
    *,
    most_bytes: int = MAX_DOWNLOAD,
    files: Sequence[str] = _CHECKPOINT,
    token: str | bool | None = None,
    cache: Path | None = None,
) -> Path:
    """The folder of a checkpoint of ours on the Hub; no code of a stranger's is in it, or named by it.

    source: "hub:owner/name", with @revision where wanted, or without its "hub:"; files: those wanted, "config.json"
    alone for what tells of it; most_bytes, token and cache as for `hub.fetch`. Raises ValueError, in one sentence, as
    that does, and for what is no id and no checkpoint of ours.
    """
    source = source.removeprefix(ON_HUB)
    if (found := split_id(source)) is None:
        raise ValueError(f"{source[:80]!r} is no id of the Hub; expected owner/name, or owner/name@revision.")
    repo, revision = found
    title = f"{repo}, which is not in the Hub's cache,"
    folder = fetch(repo, title=title, most_bytes=most_bytes, revision=revision, files=files, token=token, cache=cache)
    student = read_json(folder / CONFIG).get("student") if (folder / CONFIG).is_file() else None
    if not isinstance(student, dict):
        raise ValueError(f"{source} holds no checkpoint of redistill; `find_pipeline` takes a DDPM of diffusers.")
    for name in (student.get("teacher"), student.get("architecture")):
        if isinstance(name, str) and is_own(name):
            raise ValueError(f"{source} is of a network in a file, {name[:80]}, which is never run from the Hub.")
    return folder


def imported_dir() -> Path:
    """Folder of the teachers that were imported, see `imported`; it need not exist yet."""
    return cache_dir() / "teachers"


def list_imported() -> list[str]:
    """Names of the teachers that were imported, sorted."""
    return sorted(path.parent.name for path in imported_dir().glob(f"*/{CONFIG}"))


def list_shipped() -> list[str]:
    """Names of the checkpoints that ship with the project, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def _one_of(names: list[str]) -> str:
    """What a refusal offers of the checkpoints that ship; an installed package comes without, and says so."""
    missing = "the name of one that ships (none do here; REDISTILL_CHECKPOINTS names the checkpoints/ of a clone)"
    return f"one of {names}" if names else missing


def find_pipeline(source: str, folders: bool = True) -> Path:
    """The folder of a diffusion checkpoint, downloaded where it is not on this machine yet.

    source: a folder; the name of a checkpoint that ships; or `owner/name`, with @revision where wanted, or its address
    on huggingface.co; with "hub:" before it, a checkpoint of ours there. A folder of that name comes first, unless
    `folders` is off: then no place on this machine but the shipped ones and the Hub's cache is looked at. Raises
    ValueError, in one sentence, for what is none of these, for a classifier, for too large a download and without a
    network. `pipeline.load_unet` and `load_scheduler` read the folder, and refuse what does not fit.
    """
    if not isinstance(source, str) or not source.strip():
        raise ValueError(f"Checkpoint is {source!r}; expected a folder or a Hub id such as google/ddpm-cifar10-32.")
    if source.startswith(ON_HUB):
        return _not_classifier(fetch_checkpoint(source), source)
    source = hub_id(source)
    folder = Path(source).expanduser()
    if folders and folder.is_dir():
        return _not_classifier(folder)
    if source in list_shipped():
        return _not_classifier(find_checkpoint(source))
    if (found := split_id(source)) is None:
        what = (
            f"There is no folder {source[:200]!r}; expected a folder,"
            if folders
            else (f"{source[:200]!r} is no Hub id, and folders of this machine are not open to visitors; expected")
        )
        raise ValueError(f"{what} {_one_of(_shipped())}, or a Hub id such as google/ddpm-cifar10-32.")
    repo, revision = found
    title = f"{repo}, which is no folder,"
    folder = fetch(repo, title=title, most_bytes=MAX_DOWNLOAD, revision=revision, files=_FILES)
    _not_classifier(folder, source)
    if not any(map(find_weight_files, (folder, folder / "unet"))):
        raise ValueError(
            f"{source} has no weights in safetensors ({WEIGHTS}), and pickles are never loaded; convert it where you "
            "trust it: DDPMPipeline.from_pretrained(ID).save_pretrained(FOLDER)."
        )
    return folder


def _task(folder: Path) -> str | None:
    """What a checkpoint of this project is for; None for any other folder."""
    try:
        return StudentConfig.from_dict(read_json(folder / CONFIG)["student"]).task
    except (ValueError, TypeError, KeyError):
        return None


def _shipped() -> list[str]:
    """Names of the diffusion checkpoints that ship."""
    return [name for name in list_shipped() if _task(SHIPPED / name) == "diffusion"]


def _not_classifier(folder: Path, called: str = "") -> Path:
    if _task(folder) == "classification":
        name = called or folder.name
        raise ValueError(f"{name} is a classifier, which draws nothing; expected one of {_shipped()}.")
    return folder


def find_ddpm(source: str) -> Path:
    """The folder of a DDPM that can teach, found as by `find_pipeline`: unconditional, on square RGB pictures.

    Raises ValueError, in one sentence, as that does, and for what draws by class, in a latent space or no RGB.
    """
    return _checked(source)[0]


def ddpm_settings(source: str, folders: bool = True) -> tuple[int | None, str]:
    """Pixels a side that the DDPM `source` draws (None: any) and what it predicts; ValueError as `find_ddpm`.

    `folders` as for `find_pipeline`.
    """
    folder, config = _checked(source, folders)
    size = config.sample_size
    sides = {size} if size is None or isinstance(size, int) else set(size)
    if len(sides) > 1:
        raise ValueError(f"{source} draws {size} px; expected a DDPM of square pictures.")
    return sides.pop(), load_scheduler(folder).config.prediction_type


def with_unets(student: StudentConfig, folders: bool = True) -> StudentConfig:
    """The student with the settings of its networks that are called "ddpm:SOURCE", read there where it lacks them.

    From then on it can be checked and built without the source. `folders` and errors as for `find_pipeline`.
    """
    found = {name: _settings(_checked(name.removeprefix(DDPM), folders)[1]) for name in student.unknown_unets}
    return dataclasses.replace(student, unets={**student.unets, **found}) if found else student


def _settings(config: FrozenDict) -> dict[str, Any]:
    """What a U-Net of that config is built from, as plain JSON values."""
    arguments = UNet._get_init_keys(UNet) - {"self"}
    return json.loads(json.dumps({name: config[name] for name in sorted(arguments) if name in config}))


def _checked(source: str, folders: bool = True) -> tuple[Path, FrozenDict]:
    """The folder of a DDPM that can teach, and its U-Net's config."""
    folder = find_pipeline(source, folders)
    check_index(folder)
    with weightless():
        config = build_unet(folder).config
    if config.class_embed_type is not None or config.num_class_embeds is not None:
        raise ValueError(f"{source} draws what a class label asks for; expected an unconditional DDPM.")
    if (config.in_channels, config.out_channels) != (3, 3):
        raise ValueError(
            f"{source} maps {config.in_channels} channels to {config.out_channels}; expected RGB pictures, 3 to 3."
        )
    return folder, config
