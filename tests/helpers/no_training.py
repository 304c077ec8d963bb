"""A stand-in for the training that `app.runs` starts: `redistill distill` with steps that cost nothing.

What is tested with it is all before and around the training: queues, locks, states. It keeps the run's files as
`redistill.training.run` does, and imports nothing that takes time.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAIN = """
import fcntl, json, os, sys, time
from pathlib import Path

run = Path(sys.argv[sys.argv.index("--run-dir") + 1])
steps = json.loads((run / "config.json").read_text())["steps"]
lock = open(run / ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)

def note(state, step):
    status = {"state": state, "step": step, "steps": steps, "pid": os.getpid(), "heartbeat": time.time()}
    new = run / "status.json.new"
    new.write_text(json.dumps(status))
    new.replace(run / "status.json")

step = 0
while step < steps and not (run / "stop").exists():
    step += 1
    note("running", step)
    time.sleep(0.01)
note("finished" if step == steps else "stopped", step)
"""


def stand_in(folder: Path) -> Path:
    """A folder to start processes in: `app` is the real one there, `redistill` the stand-in."""
    (folder / "redistill").mkdir(parents=True)
    (folder / "redistill" / "__main__.py").write_text(MAIN)
    (folder / "app").symlink_to(ROOT / "app")
    return folder
