"""A small server that speaks what pushing to and fetching from the Hub takes; it keeps the files that were pushed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

from helpers import hub_jobs

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Its repositories: files by path, by id; `token` is the one it takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.token = "hf_right"
        self.jobs: hub_jobs.Jobs | None = None


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *values: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        path = unquote(urlsplit(self.path).path)
        if self.headers.get("authorization") != f"Bearer {self.server.token}":
            self._answer({"error": "Invalid username or password."}, 401)
        elif self._of_jobs(path, body):
            pass
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.server.repositories.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.server.private.add(name)
            self._answer({"url": f"http://{self.headers['host']}/{name}", "name": name, "id": name})
        elif path.endswith("/validate-yaml"):  # of the card
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            asked = json.loads(body)["files"]
            self._answer(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
            )
        else:
            self._commit(path, body)

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
            if line["key"] == "file":
                self.server.repositories[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
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
        path = unquote(urlsplit(self.path).path)
        if self._of_jobs(path):
            return
        name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        files = self.server.repositories.get(name)
        if files is None:
            self._answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        elif "/resolve/" in path:
            file = path.partition("/resolve/")[2].partition("/")[2]
            self._send(files[file], "application/octet-stream") if file in files else self._answer(
                {"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"}
            )
        elif "/tree/" in path:
            self._answer([{"type": "file", "path": f, "size": len(c), "oid": _etag(c)} for f, c in files.items()])
        else:
            siblings = [{"rfilename": file, "size": len(content)} for file, content in files.items()]
            self._answer({"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "private": False})

    do_HEAD = do_GET

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


def _etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """The server, which answers until the block ends."""
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
