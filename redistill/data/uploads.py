"""Zip files of pictures, from anybody: unpacked into the cache folder under the hash of their content, or refused.

What stays is what a run can learn from: pictures that cannot be read are left out, and said to be.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..common.cache import cache_dir
from ..common.files import lock_beside, locked, remove_folder, remove_parts, replaced_folder, sha256_of
from ..common.sentences import listed
from .decode import RESERVE
from .files_in import LEFT_OUT
from .folder import open_folder, remove_unreadable
from .source import SPLITS

MAX_FILES = 200_000
MAX_BYTES = 20 * 2**30  # unpacked
MAX_PARTS = 32  # folders and file in one path
MAX_NAME = 255  # bytes of one folder or file, as file systems take them
MAX_RATIO = 100  # unpacked over packed, from RATIO_FROM on: pictures are packed already, bombs are not
RATIO_FROM = 50 * 2**20
NAMED = 3  # pictures that a sentence names
LOOK_SECONDS = 20.0  # for reading the pictures once; those that it is too short for are first read by a run
BLOCK = 4096  # bytes that a file system gives out at once
_UTF8 = 0x800  # flag of a member whose name is in UTF-8
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,60}")


def unpack_zip(
    file: str | Path, name: str | None = None, most_files: int | None = None, most_bytes: int | None = None
) -> str:
    """Unpack a zip file and return the name of the upload, which starts with that of the file (or `name`).

    The same content is unpacked once. Pictures that cannot be read are removed, see `left_out`.
    Raises ValueError, and keeps nothing, for what is no zip file or a damaged or encrypted one, for paths that leave
    the folder, links and devices, for more than `most_files` files (MAX_FILES) or `most_bytes` bytes (MAX_BYTES), for
    what unpacks to over `MAX_RATIO` times its size, when the disk has no room, and for what no run could learn from.
    """
    file = Path(file)
    title = Path(name or file.name).name
    try:
        upload = f"{_slug(title)}-{sha256_of(file)[:16]}"
        folder = uploads_dir() / upload
        with locked(lock_beside(folder)):
            if not folder.exists():
                with zipfile.ZipFile(file) as archive:
                    _unpack(archive, folder, title, (most_files or MAX_FILES, most_bytes or MAX_BYTES))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeError) as error:
        raise ValueError(f"{title} cannot be unpacked ({error}); expected a zip file of class subfolders.") from error
    except OSError as error:
        raise ValueError(
            f"{title} cannot be unpacked into the cache ({error.strerror or error}); make room there, or set "
            "REDISTILL_CACHE to another folder."
        ) from error
    return upload


def uploads_dir() -> Path:
    """Where zip files are unpacked to; it need not exist yet."""
    return cache_dir() / "uploads"


def list_uploads() -> list[str]:
    """Names of what was unpacked, sorted."""
    folders = uploads_dir().glob("*") if uploads_dir().is_dir() else ()
    return sorted(folder.name for folder in folders if _NAME.fullmatch(folder.name) and folder.is_dir())


def upload_folder(name: str) -> Path:
    """The folder of an upload; ValueError for any other name, which tells nothing of what others brought."""
    if not _NAME.fullmatch(name) or not (uploads_dir() / name).is_dir():
        raise ValueError(f"There is no upload {name[:80]!r} here any more; bring the pictures in again.")
    return uploads_dir() / name


def remove_upload(name: str) -> None:
    """Delete what was unpacked; ValueError where it is gone, or cannot be deleted."""
    folder = upload_folder(name)
    try:
        with locked(lock_beside(folder)):
            remove_folder(folder)
    except OSError as error:
        raise ValueError(f"The pictures of {name} cannot be deleted ({error.strerror or error}).") from error


def left_out(name: str) -> list[str]:
    """Names of the pictures of an upload that could not be read and are not in its folder."""
    try:
        return json.loads((upload_folder(name) / LEFT_OUT).read_text(encoding="utf-8"))
    except FileNotFoundError:  # of an earlier version
        return []


def say_left_out(names: Sequence[str]) -> str:
    """A sentence about pictures that could not be read; empty for none."""
    if not names:
        return ""
    what = "1 picture that cannot be read is" if len(names) == 1 else f"{len(names):,} pictures that cannot be read are"
    return f"{what} left out: {listed(names, NAMED)}."


def _unpack(archive: zipfile.ZipFile, folder: Path, title: str, most: tuple[int, int]) -> None:
    members = {_path(member): member for member in archive.infolist() if not member.is_dir()}
    _check(archive, members, title, *most)
    remove_parts(folder)
    with replaced_folder(folder) as part:
        needed, free = _room(members), shutil.disk_usage(part).free
        if needed + RESERVE > free:
            raise ValueError(
                f"{title} unpacks to {_size(needed)}, but the cache has {_size(free)} free, of which "
                f"{_size(RESERVE)} are kept; set REDISTILL_CACHE to a larger disk."
            )
        for name, member in members.items():
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # No more is read than the directory says, which `_check` has added up; the checksum is compared.
            with archive.open(member) as packed, open(target, "xb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
        broken = _admit(part, title)
        (part / LEFT_OUT).write_text(json.dumps(broken), encoding="utf-8")


def _admit(part: Path, title: str) -> list[str]:
    """Remove the pictures that cannot be read, and name them; ValueError where no run could learn from the rest."""
    broken = remove_unreadable(part, title, LOOK_SECONDS)
    try:
        source = open_folder(part, title)
        for split in SPLITS:
            source.split(split, seed=0)
    except ValueError as error:
        raise ValueError(" ".join(filter(None, [str(error), say_left_out(broken)]))) from error
    return broken


def _path(member: zipfile.ZipInfo) -> str:
    """Where a member lies below the archive's folder. Windows' programs write backslashes, and some write names in
    UTF-8 without saying so, which Python then reads as CP437."""
    name = member.filename
    if not member.flag_bits & _UTF8:
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return str(PurePosixPath(name.replace("\\", "/")))  # of a path told in two ways, one


def _room(members: Mapping[str, zipfile.ZipInfo]) -> int:
    """Bytes that files take on a disk, which gives them, and their folders, whole blocks."""
    folders = {parent for name in members for parent in PurePosixPath(name).parents}
    return sum(-(-member.file_size // BLOCK) * BLOCK for member in members.values()) + BLOCK * len(folders)


def _check(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], title: str, most_files: int, most_bytes: int
) -> None:
    """Everything that can be known before a byte is written."""
    if not members:
        raise ValueError(f"{title} is empty; expected a zip file of class subfolders.")
    if len(members) > most_files:
        raise ValueError(f"{title} holds {len(members):,} files; expected at most {most_files:,}.")
    unpacked, packed = (sum(getattr(m, key) for m in members.values()) for key in ("file_size", "compress_size"))
    if unpacked > most_bytes:
        raise ValueError(f"{title} unpacks to {_size(unpacked)}; expected at most {_size(most_bytes)}.")
    if unpacked > RATIO_FROM and unpacked > MAX_RATIO * packed:
        raise ValueError(f"{title} unpacks to over {MAX_RATIO} times its size, as no pictures do; it is not unpacked.")
    for name, member in members.items():
        _check_member(PurePosixPath(name), member, title)
    files = Counter(_path(member) for member in archive.infolist() if not member.is_dir())
    twice = next((name for name, count in files.items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"{title} holds {twice[:80]!r} twice; expected each file once.")
    folders = {str(parent) for name in members for parent in PurePosixPath(name).parents}
    both = next((name for name in members if str(PurePosixPath(name)) in folders), None)
    if both is not None:
        raise ValueError(f"{title} holds {both[:80]!r} as a file and as a folder; expected one of the two.")


def _check_member(path: PurePosixPath, member: zipfile.ZipInfo, title: str) -> None:
    shown = repr(str(path)[:80])
    if not path.parts:
        raise ValueError(f"{title} holds a file without a name; it is not unpacked.")
    if path.is_absolute() or ".." in path.parts or re.fullmatch("[A-Za-z]:", path.parts[0]):
        raise ValueError(f"{title} holds {shown}, which leaves its folder; it is not unpacked.")
    if len(path.parts) > MAX_PARTS:
        raise ValueError(f"{title} holds {shown}..., more than {MAX_PARTS} folders deep; it is not unpacked.")
    if max(len(part.encode("utf-8", "surrogateescape")) for part in path.parts) > MAX_NAME:
        raise ValueError(f"{title} holds {shown}..., a longer name than disks take; expected at most {MAX_NAME} bytes.")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        raise ValueError(f"{title} holds {shown}, a link or device; expected only plain files.")
    if member.flag_bits & 1:
        raise ValueError(f"{title} is encrypted; expected a zip file without a password.")


def _slug(title: str) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", Path(title).stem.lower()).strip("-")
    return stem[:40].rstrip("-") or "pictures"


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
