"""Runs on Hugging Face Jobs: the same `redistill distill` on hardware that its owner pays by the minute.

A job runs in the image of a Space that holds this project, and copies its run's folder into a private bucket of its
owner (`owner/redistill-runs`), see `run_copy`. A run's folder here holds a note of its job, and what was fetched of
the bucket: those who read runs need not know where one is trained. Nothing of a job is run here: of a finished one
JSON and safetensors are fetched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..checkpoint.metadata import read_metadata
from ..common.files import read_json, replaced_file, replaced_folder, write_json
from ..common.hub import asking, refusal, split_id
from ..common.values import is_number
from .config import DistillConfig
from .launching import accelerate, stays_here, training
from .run import CLASSES, CONFIG, METRICS, STATUS
from .run_state import read_or_empty

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Token = str | bool | None  # None: that of `hf auth login`; False: none
NOTE = "hub_job.json"  # in the run's folder
BUCKET = "redistill-runs"
MOUNT = "/runs"  # of the bucket, in the job
PLACE = "/home/user/app"  # of this project in the image of a Space
WAITS, TRAINS, DONE, CANCELED = "SCHEDULING", "RUNNING", "COMPLETED", "CANCELED"  # stages; others are failures
SHORTEST = 1800  # seconds that a job may take at least: its start, pictures and networks are not in an estimate
SPARE = 3.0  # times the estimate, which was made on another machine
LONGEST = 7 * 86_400  # seconds
MOST_BYTES = 2 * 2**30  # of a network that is fetched, and
MOST_OF_CARD = 16 * 2**20  # of what tells about it, and
MOST_OF_FILES = {METRICS: 256 * 2**20, CLASSES: 64 * 2**20, STATUS: 2**20}  # of what else is, in this order
STUDENT = "student"
FETCHED = (".json", ".safetensors", ".md")
UNREACHED = "Hugging Face cannot be reached; connect to the network, and try once more."


@dataclass(frozen=True)
class Hardware:
    """A machine of Hugging Face Jobs."""

    name: str  # such as "t4-small"
    title: str
    gpus: int
    memory: str  # of all its GPUs, or of a machine without: such as "16 GB"
    dollars_an_hour: float

    def dollars(self, seconds: float) -> float:
        """What so many seconds cost."""
        return self.dollars_an_hour * seconds / 3600


@dataclass(frozen=True)
class Job:
    """A job as a run's folder notes it, and what was last heard of it."""

    id: str
    owner: str
    run: str  # folder in the bucket
    space: str  # whose image it runs in
    hardware: Hardware
    most_seconds: int
    stage: str = WAITS
    message: str = ""
    heard: float = 0.0  # seconds since 1970

    @property
    def bucket(self) -> str:
        """Of its runs, as the Hub calls it."""
        return f"{self.owner}/{BUCKET}"

    @property
    def is_going(self) -> bool:
        """Whether it waits or trains, as far as was heard."""
        return self.stage in (WAITS, TRAINS)


def list_hardware(token: Token = None) -> list[Hardware]:
    """The hardware there is with its prices of today, the cheapest first. ValueError, in one sentence, without a
    network."""
    with _asking(token) as api:
        return sorted(map(_hardware, api.list_jobs_hardware()), key=lambda one: (one.dollars_an_hour, one.name))


def _hardware(info: Any) -> Hardware:
    units = {"second": 3600, "minute": 60, "hour": 1}  # of an hour
    if info.unit_label not in units:
        raise ValueError(f"Hugging Face gives prices a {info.unit_label[:40]!r}; expected one of {list(units)}.")
    gpu = info.accelerator
    count = int(gpu.quantity) if gpu and str(gpu.quantity).isdecimal() else int(gpu is not None)
    price = info.unit_cost_usd * units[info.unit_label]
    return Hardware(info.name, info.pretty_name, count, gpu.vram if gpu else info.ram, round(price, 4))


def most_seconds(seconds: float) -> int:
    """After how long a job is ended whose run was estimated to take `seconds` on this machine."""
    return min(LONGEST, max(SHORTEST, math.ceil(SPARE * seconds)))


def said_price(hardware: Hardware, seconds: float) -> str:
    """What a run costs there that was estimated to take `seconds` on this machine, in two sentences."""
    most = most_seconds(seconds)
    return (
        f"About {_minutes(seconds)} at the pace of this machine: {_dollars(hardware.dollars(seconds))} on "
        f"{hardware.name}, at {_dollars(hardware.dollars_an_hour)} an hour; its own pace shows once it trains. "
        f"It is ended after {_minutes(most)}, which is {_dollars(hardware.dollars(most))} at most."
    )


def _minutes(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount >= 0.005 else "less than $0.01"


def start_job(
    config: DistillConfig, run: str, hardware: Hardware, space: str, seconds: float, token: Token = None
) -> Job:
    """Let a job train a run, or go on with the one of that name in the bucket; `keep_job` notes it.

    space: `owner/name` of the Space in whose image it runs; seconds: as `most_seconds` gives them, after which it is
    ended. ValueError, in one sentence, for a run that needs what lies on this machine, a batch that the GPUs cannot
    share, a token that may not, and without a network.
    """
    if split_id(space) != (space, None):
        raise ValueError(f"Space is {space[:80]!r}; expected owner/name of one that holds this project.")
    if reason := stays_here(config):
        raise ValueError(reason)
    if hardware.gpus > 1 and config.batch_size % hardware.gpus:
        raise ValueError(
            f"batch_size is {config.batch_size}, which the {hardware.gpus} GPUs of {hardware.name} cannot share "
            f"evenly; expected a multiple of {hardware.gpus}."
        )
    config, run = on_hardware(config, hardware), re.sub(r"[^\w.-]+", "-", run, flags=re.ASCII)
    with _asking(token) as api:
        from huggingface_hub import Volume

        owner = api.whoami()["name"]
        api.create_bucket(f"{owner}/{BUCKET}", private=True, exist_ok=True)
        started = api.run_job(
            image=f"hf.co/spaces/{space}",
            command=["bash", "-c", _command(run, hardware.gpus)],
            env={"RUN_SETTINGS": json.dumps(config.to_dict())},
            secrets={"HF_TOKEN": str(api.token)} if _asks_the_hub(config) and api.token else None,
            flavor=hardware.name,
            timeout=int(seconds),
            labels={"redistill": run[:60]},
            volumes=[Volume(type="bucket", source=f"{owner}/{BUCKET}", mount_path=MOUNT)],
            namespace=owner,
        )
    return Job(started.id, owner, run, space, hardware, int(seconds), str(started.status.stage), heard=time.time())


def on_hardware(config: DistillConfig, hardware: Hardware) -> DistillConfig:
    """A run's settings as a job has them."""
    return dataclasses.replace(config, device="cuda" if hardware.gpus else "cpu")


def keep_job(run_dir: Path, config: DistillConfig, job: Job) -> None:
    """Note in a run's folder which job trains it, and with which settings."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_json(run_dir / CONFIG, on_hardware(config, job.hardware).to_dict())
    _note(run_dir, job)


def _command(run: str, gpus: int) -> str:
    """What the job's shell runs."""
    start = accelerate(gpus) if gpus > 1 else "python"
    return (
        f"cd {PLACE} && mkdir -p /tmp/runs && printf %s \"$RUN_SETTINGS\" > '/tmp/runs/{run}.json' && "
        f"exec {start} {training(f'/tmp/runs/{run}')} --copy-to '{MOUNT}/{run}'"
    )


def _asks_the_hub(config: DistillConfig) -> bool:
    named = (config.dataset, config.teacher_checkpoint or "", config.student.teacher)
    return any(name.startswith(("hub:", "ddpm:", "hf-hub:")) for name in named)


def read_job(run_dir: Path) -> Job | None:
    """The job that trains a run; None for one that is trained here."""
    try:
        values = read_json(run_dir / NOTE)
        job = Job(**{**values, "hardware": Hardware(**values["hardware"])})
    except (ValueError, OSError, TypeError, KeyError):
        return None
    return job if is_number(job.heard) and isinstance(job.stage, str) else None


def look(run_dir: Path, token: Token = None, most_bytes: int = MOST_BYTES) -> Job:
    """Hear of a run's job, and fetch what its run has written since, a network of at most `most_bytes`.

    ValueError, in one sentence, where that cannot be: what was heard of the job is noted all the same, and what was
    fetched before stays."""
    job = _job_of(run_dir)
    with _asking(token) as api:
        found = api.inspect_job(job_id=job.id, namespace=job.owner).status
        job = dataclasses.replace(job, stage=str(found.stage), message=found.message or "", heard=time.time())
        if not (job.is_going or job.stage in (DONE, CANCELED) or job.message):
            job = dataclasses.replace(job, message="".join(_lines(job, 1, api)))
        bucket = _Bucket(job, api)
        try:
            bucket.fetch_records(run_dir)
        finally:
            if _job_of(run_dir).id == job.id:  # or the run goes on by another one meanwhile
                _note(run_dir, job)
        bucket.fetch_network(run_dir, most_bytes)
    return job


class _Bucket:
    """What stands in the bucket of a job's run."""

    def __init__(self, job: Job, api: HfApi) -> None:
        from huggingface_hub import HfFileSystem

        self._hub = HfFileSystem(token=api.token, skip_instance_cache=True, use_listings_cache=False, live_follow=False)
        self._root = f"buckets/{job.bucket}/{job.run}"
        try:
            files: Mapping[str, Mapping[str, Any]] = self._hub.find(self._root, detail=True)
        except FileNotFoundError:  # it has written nothing yet
            files = {}
        # Bytes by file, as a path in the run's folder.
        self._sizes = {str(PurePosixPath(path).relative_to(self._root)): row["size"] for path, row in files.items()}

    def fetch_records(self, run_dir: Path) -> None:
        """Fetch the records and the status of the run. ValueError for too large ones, and nothing is fetched then."""
        for name, most in MOST_OF_FILES.items():
            _check_bytes(name, self._sizes.get(name, 0), most)
        for name in MOST_OF_FILES:
            if name in self._sizes and (name == STATUS or _size(run_dir / name) != self._sizes[name]):
                with replaced_file(run_dir / name) as part:
                    self._get(name, part)

    def fetch_network(self, run_dir: Path, most_bytes: int) -> None:
        """Fetch the network once the run has finished. ValueError for one that is too large or not the run's, before
        any weights are fetched."""
        student = {name: size for name, size in self._sizes.items() if _is_of_student(name)}
        card = f"{STUDENT}/{CONFIG}"
        is_done = card in student and read_or_empty(run_dir / STATUS).get("state") == "finished"
        if not is_done or (run_dir / STUDENT).exists():
            return
        _check_bytes(f"the {CONFIG} of its network", student[card], MOST_OF_CARD)
        _check_bytes("its network", sum(student.values()), most_bytes)
        with tempfile.TemporaryDirectory(prefix="redistill-job-") as place:
            folder = Path(place) / STUDENT
            for name in (card, *(name for name in student if name != card)):
                target = Path(place) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._get(name, target)
                if name == card:
                    _check_network(folder, DistillConfig.from_dict(read_json(run_dir / CONFIG)))
            with replaced_folder(run_dir / STUDENT) as part:
                shutil.copytree(folder, part, dirs_exist_ok=True)

    def _get(self, name: str, target: Path) -> None:
        with open(target, "wb") as file:
            self._hub.get_file(f"{self._root}/{name}", outfile=file)


def _check_bytes(what: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"What the job wrote is too large: {what} has {size:,} bytes; expected at most {most:,}.")


def _check_network(folder: Path, config: DistillConfig) -> None:
    """ValueError for another network than the run's: its owner, and whoever has their token, can write the bucket.

    Of what made it, its card says what was asked for here.
    """
    card = read_metadata(folder)
    if card.dataset != config.dataset or (card.student != config.student and not config.student.unknown_unets):
        raise ValueError("The bucket holds another network than this run's; delete the run here, and start it anew.")
    values = {**read_json(folder / CONFIG), "training": config.to_dict(), "imported": {}}
    write_json(folder / CONFIG, values)


def _is_of_student(name: str) -> bool:
    path = PurePosixPath(name)
    return path.parts[0] == STUDENT and ".." not in path.parts and path.suffix in FETCHED


def _size(file: Path) -> int | None:
    return file.stat().st_size if file.exists() else None


def cancel(run_dir: Path, token: Token = None) -> Job:
    """End a run's job. What it saved last stays in the bucket, and `start_job` goes on from there."""
    job = cancel_job(_job_of(run_dir), token)
    _note(run_dir, job)
    return job


def cancel_job(job: Job, token: Token = None) -> Job:
    """End a job that need not be noted anywhere."""
    with _asking(token) as api:
        api.cancel_job(job_id=job.id, namespace=job.owner)
    return dataclasses.replace(job, stage=CANCELED, heard=time.time())


def last_lines(run_dir: Path, count: int = 40, token: Token = None) -> list[str]:
    """The last lines that a run's job has printed."""
    job = _job_of(run_dir)
    with _asking(token) as api:
        return _lines(job, count, api)


def _lines(job: Job, count: int, api: HfApi) -> list[str]:
    lines = (line.rstrip("\n") for line in api.fetch_job_logs(job_id=job.id, namespace=job.owner, tail=count))
    return list(lines)[-count:]


def _job_of(run_dir: Path) -> Job:
    if job := read_job(run_dir):
        return job
    raise ValueError(f"Run {run_dir.name} has no job on Hugging Face; it is trained on this machine.")


def _note(run_dir: Path, job: Job) -> None:
    write_json(run_dir / NOTE, dataclasses.asdict(job))


def _asking(token: Token) -> contextlib.AbstractContextManager[HfApi]:
    """A block that asks Hugging Face; what it refuses is a ValueError of one sentence."""
    return asking(token, _refused, UNREACHED)


def _refused(error: Any) -> str:
    has_no_right = getattr(error.response, "status_code", None) in (401, 402, 403)
    remedy = "sign in with an account that pays for Jobs, and may use them" if has_no_right else "try again"
    return f"Hugging Face Jobs refuses ({refusal(error)}); {remedy}."
