"""A small server that speaks what pushing to and fetching from the Hub takes; it keeps the files that were pushed.

Large files come as on the Hub: announced to the batch call of Git LFS, sent by a PUT of their own, and named by their
SHA-256 in the commit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from app.runs import on_hub
from helpers import hub_jobs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Its repositories: files by path, by id; `token` is the one it takes, `asked` every request with the one it had.

    Files that end in one of `lfs` are large; what was sent of them lies in `objects`, by SHA-256.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.token = "hf_right"
        self.jobs: hub_jobs.Jobs | None = None
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, token
        self.lfs: tuple[str, ...] = ()
        self.objects: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *values: object) -> None:
        pass

    def _begin(self) -> tuple[str, bool]:
        """The path that is asked for, and whether the token is the right one."""
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("authorization", "").removeprefix("Bearer ") or None
        self.server.asked.append((self.command, path, token))
        return path, token == self.server.token

    def do_POST(self) -> None:
        body = self._body()
        path, may_write = self._begin()
        if not may_write:
            self._answer({"error": "Invalid username or password."}, 401)
        elif self._of_jobs(path, body):
            pass
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            is_new = name not in self.server.repositories
            if is_new and (asked.get("private") or asked.get("visibility") == "private"):
                self.server.private.add(name)
            self.server.repositories.setdefault(name, {})
            told = {"url": f"http://{self.headers['host']}/{name}", "name": name, "id": name}
            self._answer(told, 200 if is_new else 409)
        elif path.endswith("/validate-yaml"):  # of the card
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(self.server.lfs) else "regular" for path in paths}
            rows = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            self._answer({"files": rows})
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        else:
            self._commit(path, body)

    def _batch(self, asked: dict) -> None:
        """Where the objects go that are not here yet."""
        objects = []
        for wanted in asked["objects"]:
            actions = {"upload": {"href": f"http://{self.headers['host']}/objects/{wanted['oid']}", "header": {}}}
            objects.append(wanted | ({} if wanted["oid"] in self.server.objects else {"actions": actions}))
        self._answer({"transfer": "basic", "objects": objects})

    def do_PUT(self) -> None:
        """An object, to the address that `_batch` gave: whoever has that needs no token."""
        path, _ = self._begin()
        body = self._body()
        oid = path.removeprefix("/objects/")
        is_whole = _sha256(body) == oid
        if is_whole:
            self.server.objects[oid] = body
        self._answer({}, 200 if is_whole else 400)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _commit(self, path: str, body: bytes) -> None:
        name = path.removeprefix("/api/models/").partition("/commit/")[0]
        for line in map(json.loads, body.splitlines()):
            kind, value = line["key"], line["value"]
            if kind == "file":
                self.server.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                self.server.repositories[name][value["path"]] = self.server.objects[value["oid"]]
        url = f"http://{self.headers['host']}/{name}/commit/{COMMIT}"
        self._answer({"commitUrl": url, "commitOid": COMMIT, "success": True})

    def _of_jobs(self, path: str, body: bytes = b"") -> bool:
        """Answer what is a matter of jobs and buckets; whether it was."""
        answer = self.server.jobs and hub_jobs.answer(self.server.jobs, self.command, path, body, self.headers["host"])
        if answer:
            status, told = answer
            self._send(told, "text/event-stream", status) if isinstance(told, bytes) else self._answer(told, status)
        return bool(answer)

    def do_GET(self) -> None:
        path, is_owner = self._begin()
        if self._of_jobs(path):
            return
        name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        files = self.server.repositories.get(name)
        if files is None or (name in self.server.private and not is_owner):
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            file = path.partition("/resolve/")[2].partition("/")[2]
            if file in files:
                linked = {"X-Linked-Etag": f'"{_sha256(files[file])}"', "X-Linked-Size": str(len(files[file]))}
                is_large = file.endswith(self.server.lfs)
                self._send(files[file], "application/octet-stream", headers=linked if is_large else None)
            else:
                self._answer({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        elif "/tree/" in path:
            self._answer([self._row(file, content) for file, content in files.items()])
        else:
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            told = {"id": name, "modelId": name, "sha": COMMIT, "private": name in self.server.private}
            self._answer(told | {"siblings": siblings})

    do_HEAD = do_GET

    def _row(self, file: str, content: bytes) -> dict:
        """A file as the listing of a repository tells of it."""
        row = {"type": "file", "path": file, "size": len(content), "oid": _etag(content)}
        large = {"oid": _sha256(content), "size": len(content), "pointerSize": 134}
        return row | ({"lfs": large} if file.endswith(self.server.lfs) else {})

    def _answer(self, values: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(values).encode(), "application/json", status, headers)

    def _send(self, content: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        told = {"content-type": kind, "content-length": str(len(content)), "etag": f'"{_etag(content)}"'}
        for name, value in {**told, "X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """The server, which answers until the block ends."""
    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()  # seconds its end is seen after
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def local_hub(place: Path, with_jobs: bool = False) -> Iterator[Hub]:
    """The server as the Hub of this process, which keeps what it fetches in a folder and has the right token; with jobs
    and buckets too, which lie there."""
    asking = ("constants", "hf_api", "file_download", "_snapshot_download", "utils._auth", "_buckets", "_jobs_api")
    with hub_server() as server, pytest.MonkeyPatch.context() as patch:
        server.jobs = hub_jobs.Jobs(place / "jobs") if with_jobs else None
        for module in asking:
            patch.setattr(f"huggingface_hub.{module}.ENDPOINT", server.address, raising=False)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        patch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place))
        patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        patch.setenv("HF_TOKEN", server.token)
        try:
            yield server
        finally:
            _end_hearing()


def _end_hearing() -> None:
    """Wait for those who still hear of a job: where one finds no server any more, huggingface_hub closes the client
    that all threads share, and whoever asks just then, such as the next test, loses its connection."""
    for thread in threading.enumerate():
        if thread.name == on_hub.HEARING:
            thread.join(60)
