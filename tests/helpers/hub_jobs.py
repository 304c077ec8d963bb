"""Jobs and buckets of the small Hub: a job's command is noted, and on request run on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parents[2]
OWNER = "someone"
HARDWARE = [
    {"name": "t4-small", "prettyName": "Nvidia T4 - small", "cpu": "4 vCPU", "ram": "15 GB", "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "T4", "quantity": "1", "vram": "16 GB", "manufacturer": "Nvidia"},
     "unitCostMicroUSD": 10_000, "unitCostUSD": 0.01},
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "unitLabel": "minute",
     "accelerator": None, "unitCostMicroUSD": 200, "unitCostUSD": 0.0002},
    {"name": "a10g-largex4", "prettyName": "4x Nvidia A10G", "cpu": "48 vCPU", "ram": "184 GB", "unitLabel": "hour",
     "accelerator": {"type": "gpu", "model": "A10G", "quantity": "4", "vram": "96 GB", "manufacturer": "Nvidia"},
     "unitCostMicroUSD": 5_000_000, "unitCostUSD": 5.0},
]  # fmt: skip


@dataclass
class Jobs:
    """What the Hub keeps: jobs by their ids, each its settings and `stage`; buckets by their ids, as folders."""

    place: Path
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)

    def bucket(self, name: str) -> Path:
        return self.place / name

    def work(self, number: str) -> subprocess.CompletedProcess:
        """Run a job's command here, its bucket in place of the mount, and note how it ended."""
        job = self.jobs[number]
        (volume,) = job["volumes"]
        shell, flag, script = job["command"]
        script = script.replace("/home/user/app", str(ROOT)).replace("/tmp/runs", str(self.place / "tmp"))
        script = script.replace(f"'{volume['mountPath']}/", f"'{self.bucket(volume['source'])}/")
        given = {**os.environ, **job["environment"], "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            [shell, flag, script], env=given, capture_output=True, text=True, timeout=300, check=False
        )
        job["stage"] = "ERROR" if done.returncode else "COMPLETED"
        job["logs"] = (done.stdout + done.stderr).splitlines()
        return done

    def told(self, number: str, host: str) -> dict[str, Any]:
        job = self.jobs[number]
        kept = {name: job[name] for name in ("command", "environment", "flavor", "spaceId", "labels")}
        owner = {"id": "1", "name": OWNER, "type": "user"}
        return {"id": number, "owner": owner, "status": {"stage": job["stage"], "message": job.get("message")}, **kept}


def answer(jobs: Jobs, method: str, path: str, body: bytes, host: str) -> tuple[int, Any] | None:
    """Status and JSON (or bytes) of an answer; None for what is no matter of jobs and buckets."""
    parts = path.strip("/").split("/")
    if path == "/api/whoami-v2":
        return 200, {"name": OWNER, "type": "user", "auth": {}}
    if path == "/api/jobs/hardware":
        return 200, HARDWARE
    if parts[:2] == ["api", "jobs"]:
        return _of_job(jobs, method, parts[2:], body, host)
    if parts[:2] == ["api", "buckets"]:
        return _of_bucket(jobs, method, "/".join(parts[2:4]), parts[4:], host)
    if parts[0] == "buckets" and parts[3] == "resolve":
        file = jobs.bucket("/".join(parts[1:3])) / unquote("/".join(parts[4:]))
        return (200, file.read_bytes()) if file.is_file() else (404, {"error": "Entry not found"})
    return None


def _of_job(jobs: Jobs, method: str, parts: list[str], body: bytes, host: str) -> tuple[int, Any]:
    if parts[0] != OWNER:
        return 403, {"error": "Not yours"}
    if method == "POST" and len(parts) == 1:
        number = f"job{len(jobs.jobs) + 1}"
        jobs.jobs[number] = {**json.loads(body), "stage": "SCHEDULING"}
        return 200, jobs.told(number, host)
    if parts[1] not in jobs.jobs:
        return 404, {"error": "Job not found"}
    if parts[2:] == ["cancel"]:
        jobs.jobs[parts[1]]["stage"] = "CANCELED"
    if parts[2:] == ["logs"]:
        lines = (
            json.dumps({"data": line, "timestamp": "2026-01-01T00:00:00Z"}) for line in jobs.jobs[parts[1]]["logs"]
        )
        return 200, "".join(f"data: {line}\n\n" for line in lines).encode()
    return 200, jobs.told(parts[1], host)


def _of_bucket(jobs: Jobs, method: str, name: str, parts: list[str], host: str) -> tuple[int, Any]:
    folder = jobs.bucket(name)
    if method == "POST":
        if folder.exists():
            return 409, {"error": "You already created this bucket", "url": f"http://{host}/buckets/{name}"}
        folder.mkdir(parents=True)
        jobs.private.add(name)
        return 200, {"url": f"http://{host}/buckets/{name}", "id": name}
    if not folder.is_dir():
        return 404, {"error": "Bucket not found"}
    if parts[:1] == ["tree"]:
        prefix = unquote("/".join(parts[1:]))
        files = sorted(file for file in (folder / prefix).rglob("*") if file.is_file())
        row = {"type": "file", "xetHash": "0" * 64, "mtime": "2026-01-01T00:00:00.000Z"}
        return 200, [row | {"path": str(f.relative_to(folder)), "size": f.stat().st_size} for f in files]
    told = {"id": name, "private": name in jobs.private, "createdAt": "2026-01-01T00:00:00.000Z"}
    return 200, told | {"size": 0, "totalFiles": 0}
