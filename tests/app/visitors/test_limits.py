"""Limits of a shared page: each is held to before anything happens, and says the way out; a laptop has none."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
from gradio.utils import get_upload_folder
from helpers.hub_server import local_hub
from helpers.made import TEACHER, save_untrained, saved_ddpm, small
from helpers.no_training import stand_in
from helpers.pictures import write_classes
from helpers.visitors import asked_by

from app.distill import data_panel, estimate_panel, handlers, own_weights
from app.parts.guard import Guard
from app.runs import jobs, processes, room, run_list
from app.runs.one_run import Run
from app.visitors import access, limits, place, uploaded
from app.visitors.limits import Limits
from app.words.places import hide_places
from redistill.checkpoint import sources
from redistill.checkpoint.sources import list_imported
from redistill.data.uploads import list_uploads, uploads_dir
from redistill.networks.zoo import build_network

A, B = "browser:a", "browser:b"


@pytest.fixture
def cache(places, monkeypatch):
    """Empty folders of runs and of the cache, and runs that need no time."""
    monkeypatch.setenv("REDISTILL_CACHE", str(places / "cache"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(places / "gradio"))
    monkeypatch.setattr(uploaded, "_counted", [])
    monkeypatch.setattr(jobs, "launch", lambda path, *given: None)
    return places


def most(monkeypatch, **values: int) -> None:
    """The limits of the Space are these alone."""
    monkeypatch.setattr(limits, "ON_A_SPACE", Limits(**values))


def ended(name: str, state: str = "finished", days: float = 0.0, owner: str = A, content: int = 0) -> Path:
    """A run that ended so many days ago."""
    with asked_by(owner):
        run = jobs.add_finished(small().to_dict(), name, lambda to: _write_student(to, content))
    (run.path / "status.json").write_text(json.dumps({"state": state, "step": 5, "steps": 6}))
    when = time.time() - days * 86_400
    os.utime(run.path / "status.json", (when, when))
    job = json.loads((run.path / "job.json").read_text())
    (run.path / "job.json").write_text(json.dumps(job | {"created": when}))
    return run.path


def _write_student(folder: Path, content: int) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"metrics": {"step": 5}}))
    (folder / "weights").write_bytes(b"0" * content)


TOO_MUCH = [
    ({"steps": 10_000_000}, "steps"),
    ({"steps": 10**400}, "steps"),
    ({"batch_size": 10**9}, "batch_size"),
    ({"batch_size": 500}, "of maps"),
    ({"student": ("vgg16", 64)}, "of weights"),
    ({"student": ("narrow_resnet", 2048)}, "image_size"),
]


@pytest.mark.parametrize("change,named", TOO_MUCH)
def test_a_run_that_asks_too_much_is_refused_with_the_limit_and_a_way_out(cache, monkeypatch, change, named):
    config = small().to_dict()
    if "student" in change:
        teacher, size = change["student"]
        change = {"student": {**config["student"], "teacher": teacher, "image_size": size}}
    monkeypatch.setattr(limits, "ON_A_SPACE", dataclasses.replace(limits.ON_A_SPACE, step_bytes=2**28))
    with asked_by(A), pytest.raises(ValueError, match=named) as said:
        jobs.start(config | change, "Too much")
    assert "at most" in str(said.value) and "machine of your own" in str(said.value) and len(str(said.value)) < 300
    assert run_list.everybodys() == []


def test_an_estimate_holds_to_the_limits_of_where_the_run_goes(cache, monkeypatch):
    monkeypatch.setattr(estimate_panel, "_start", lambda folder: pytest.fail("a process was started"))
    config = dataclasses.replace(small(), steps=10_000_000)
    with asked_by(A):
        with pytest.raises(ValueError, match=r"steps is 10,000,000; here a run has at most 20,000"):
            next(estimate_panel.measure(config))
        with pytest.raises(ValueError, match="batch_size is 5,000"):
            next(estimate_panel.measure(dataclasses.replace(config, batch_size=5000), goes_elsewhere=True))
        with pytest.raises(pytest.fail.Exception):  # it would be measured
            next(estimate_panel.measure(config, goes_elsewhere=True))


def test_the_defaults_allow_what_the_page_offers_first(cache):
    with asked_by(A):
        jobs.start(small().to_dict(), "Small")
        assert len(run_list.list_runs()) == 1


def test_a_laptop_has_no_limits(cache, monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert limits.limits_here() == Limits() and limits.said() == ""
    jobs.start({**small().to_dict(), "steps": 10**9}, "Long")
    for _ in range(3):
        jobs.start(small().to_dict(), "One more")
    ended("old", days=1000)
    jobs.sweep()
    assert len(run_list.everybodys()) == 5
    assert uploaded.refuse_upload(10**12) == "" and place.worker_environment() == dict(os.environ)


def test_a_visitor_has_so_many_runs_and_others_theirs(cache, monkeypatch):
    most(monkeypatch, runs_each=2)
    ended("one"), ended("two")
    with asked_by(A), pytest.raises(ValueError, match="at most 2: delete one"):
        jobs.start(small().to_dict(), "Three")
    with asked_by(B):
        jobs.start(small().to_dict(), "Mine")
    assert len(run_list.everybodys()) == 3


@pytest.mark.process
def test_a_visitor_holds_so_many_places_in_line(places, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "REPOSITORY", stand_in(tmp_path / "stand-in"))
    most(monkeypatch, going_each=1, minutes=5)
    with asked_by(A):
        run = jobs.start({**small().to_dict(), "steps": 100_000}, "Long")
        with pytest.raises(ValueError, match="stop one, or wait"):
            jobs.start(small().to_dict(), "Another")
        deadline = time.monotonic() + 60
        while run_list.read_run(run.name).step < 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        jobs.sweep()
        assert run_list.read_run(run.name).state == "running"
        os.utime(run.path / ".process", (time.time() - 301,) * 2)
        jobs.sweep()
        while run_list.read_run(run.name).state in jobs.ALIVE and time.monotonic() < deadline:
            time.sleep(0.05)
        stopped = run_list.read_run(run.name)
        assert stopped.state == "stopped" and "5 minutes" in stopped.told and stopped.error is None
        jobs.resume(run.name)
        assert run_list.read_run(run.name).told == ""
        jobs.stop(run.name)
        with pytest.raises(ValueError, match="steps"):
            most(monkeypatch, steps=10)
            jobs.extend(run.name, {"steps": 10**6})


def test_the_longest_ended_runs_make_room_and_none_that_goes_does(cache, monkeypatch):
    paths = [ended(name, state, days) for name, state, days in
             (("newest", "finished", 0.1), ("oldest", "failed", 3), ("old", "stopped", 2))]  # fmt: skip
    most(monkeypatch, runs_all=3)
    with asked_by(B):
        jobs.start(small().to_dict(), "New")
    assert [path.exists() for path in paths] == [True, False, True]
    monkeypatch.setattr(room, "ENDED", ())  # as where all of them train
    with asked_by(B), pytest.raises(ValueError, match="as many as can"):
        jobs.start(small().to_dict(), "Newer")


def test_runs_and_uploads_go_after_their_days_and_when_the_disk_is_full(cache, monkeypatch):
    most(monkeypatch, days=7)
    old, used = ended("old", days=8), ended("used", days=6)
    for name in ("gone-1", "kept-2"):
        (uploads_dir() / name).mkdir(parents=True)
        os.utime(uploads_dir() / name, (1, 1))
    config = json.loads((used / "config.json").read_text())
    (used / "config.json").write_text(json.dumps(config | {"dataset": "upload:kept-2"}))
    with asked_by(A):
        jobs.sweep()
    assert not old.exists() and used.exists() and list_uploads() == ["kept-2"]
    teachers = save_untrained(cache / "teachers", {name: TEACHER for name in ("gone", "kept", "new")})
    (used / "config.json").write_text(json.dumps(config | {"teacher_checkpoint": str(teachers / "kept")}))
    for name in ("gone", "kept"):
        os.utime(teachers / name, (1, 1))
    with asked_by(A):
        access.claim("teacher", "gone")
        jobs.sweep()
        assert list_imported() == ["kept", "new"] and not access.has_claimed("teacher", "gone")
    shutil.rmtree(teachers)
    large, newer = ended("large", days=1, content=5000), ended("newer", content=5000)
    monkeypatch.setattr(room, "RESERVED_BYTES", 1000)
    most(monkeypatch, disk_bytes=sum(map(room.folder_bytes, (used, large, newer))))
    with asked_by(A):
        jobs.sweep()
        assert used.exists() and large.exists() and newer.exists()
        most(monkeypatch, disk_bytes=500 + sum(map(room.folder_bytes, (large, newer))))  # what begins needs some too
        jobs.start(small().to_dict(), "New")
        assert not used.exists() and not large.exists() and newer.exists()
        most(monkeypatch, disk_bytes=500)
        with pytest.raises(ValueError, match="500 B of the disk that all visitors share are taken"):
            jobs.start(small().to_dict(), "Newer")


def test_the_disk_is_added_up_once_for_a_start(cache, monkeypatch):
    folders = [ended("one"), ended("two", days=1)]
    added, scanned = [], []
    monkeypatch.setattr(room, "folder_bytes", lambda folder: added.append(folder) or 10**6)
    monkeypatch.setattr(room, "list_fetched", lambda since: scanned.append(since) or [])
    monkeypatch.setattr(room, "RESERVED_BYTES", 1000)
    most(monkeypatch, disk_bytes=10**6 + 1000)  # one of them goes, and what is left is enough
    with asked_by(A):
        jobs.start(small().to_dict(), "New")
    assert sorted(added) == sorted(folders) and len(scanned) == 1
    assert folders[0].exists() and not folders[1].exists()


def test_what_was_fetched_goes_before_any_run_does_and_nothing_that_is_needed(cache, monkeypatch, tmp_path):
    with local_hub(tmp_path / "hub") as hub:
        before = sources.find_pipeline(_ddpm(hub, tmp_path, "someone/before"))
        monkeypatch.setattr(room, "STARTED", time.time())
        old, used, needed = (
            sources.find_pipeline(_ddpm(hub, tmp_path, f"someone/{name}")) for name in ("old", "used", "needed")
        )
        for days, folder in ((3, needed), (2, old), (1, used)):
            for blob in (folder.parent.parent / "blobs").iterdir():
                os.utime(blob, (time.time() - days * 86_400, time.time() + 60))
        decoded = run_list.cache_dir() / "decoded" / "one.npy"
        decoded.parent.mkdir(parents=True)
        decoded.write_bytes(b"0" * 5000)
        decoded.with_suffix(".damaged.json").write_bytes(b"0" * 500)  # it goes with its pictures
        decoded.with_name(".two.npy.part-1").write_bytes(b"0" * 5000)  # somebody writes it
        run = ended("ended", days=5)
        one = room.folder_bytes(used.parent.parent / "blobs")
        most(monkeypatch, disk_bytes=room.folder_bytes(run) + 2 * one + 5500)
        config = small().to_dict() | {"dataset": "hub:someone/needed"}
        going = Run("going", cache / "going", "Going", "running", config=config)
        with asked_by(A):
            gone = room.spare(room.Held([*run_list.everybodys(), going]))
            assert [each.name for each in gone] == ["someone/old"]
            assert room.surplus(room.Held(run_list.everybodys())) == [run_list.everybodys()[0]]
            jobs.sweep()
        assert [folder.exists() for folder in (before, needed, old, used)] == [True, False, True, True]
        assert run.exists() and decoded.exists()
        most(monkeypatch, disk_bytes=room.folder_bytes(run))
        with asked_by(A):
            jobs.sweep()
        assert [path.name for path in decoded.parent.iterdir()] == [".two.npy.part-1"]


def _ddpm(hub, folder: Path, name: str) -> str:
    """The id of a small DDPM on the Hub."""
    saved = saved_ddpm(folder / name)
    hub.repositories[name] = {str(f.relative_to(saved)): f.read_bytes() for f in saved.rglob("*") if f.is_file()}
    return name


def test_no_download_is_larger_than_a_visitor_may_ask_for(cache, monkeypatch, tmp_path):
    monkeypatch.setenv("REDISTILL_MOST_DOWNLOAD", "")
    most(monkeypatch, download_bytes=2**20)
    with asked_by(A), local_hub(tmp_path / "hub") as hub:
        hub.repositories["someone/large"] = {"config.json": b"{}", "model_index.json": b"0" * (3 * 2**20)}
        limits.hold_downloads()
        assert place.worker_environment()["REDISTILL_MOST_DOWNLOAD"] == str(2**20)
        with pytest.raises(ValueError, match="is 3 MiB to download; expected at most 1"):
            sources.find_pipeline("someone/large")


def test_it_is_said_before_anything_goes(monkeypatch):
    with asked_by(A):
        words = limits.said()
    assert all(word in words for word in ("60 minutes", "7 days", "300 runs", "20", "oldest", "Save"))


@pytest.mark.parametrize("text,wrong", [("steps=5, days=none", ""), ("steps=x", "steps=x"), ("a=1", "a=1"), ("=", "=")])
def test_the_owner_of_a_space_changes_limits(monkeypatch, text, wrong):
    monkeypatch.setenv("REDISTILL_LIMITS", text)
    with asked_by(A):
        if wrong:
            with pytest.raises(ValueError, match=f"{wrong}.*expected NAME=NUMBER"):
                limits.limits_here()
        else:
            assert limits.limits_here() == dataclasses.replace(limits.ON_A_SPACE, steps=5, days=None)


def test_a_zip_file_is_bounded_and_gone_once_it_was_taken(cache, monkeypatch):
    pictures = write_classes(cache / "pets", {"cat": 12, "dog": 12})
    (cache / "gradio").mkdir()

    def bring() -> tuple[str | None, str, bool]:
        file = cache / "gradio" / "pets.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for picture in sorted(pictures.rglob("*.png")):
                archive.write(picture, picture.relative_to(pictures))
        return *data_panel.take_upload(str(file)), file.exists()

    for values, named in (({"upload_pictures": 5}, "24 files"), ({"unpacked_bytes": 100}, "unpacks to")):
        most(monkeypatch, **values)
        with asked_by(A):
            name, said, stays = bring()
        assert name is None and named in said and not stays and list_uploads() == []
    most(monkeypatch)
    with asked_by(A):
        assert bring()[0] and list_uploads()
    outside = cache / "mine.zip"
    outside.write_bytes(b"no zip")
    data_panel.take_upload(str(outside))
    assert outside.exists(), "only what gradio was sent is deleted"


def test_a_visitor_brings_in_so_much_and_all_of_it_takes_its_share(cache, monkeypatch):
    most(monkeypatch, brought_each=2)
    pictures = write_classes(cache / "pets", {"cat": 12, "dog": 12})
    file = shutil.make_archive(str(cache / "pets"), "zip", pictures)
    with asked_by(A):
        for name in ("one", "two"):
            access.claim("teacher", name)
        for bring in (lambda: data_panel.take_upload(file)[1], lambda: bring_weights(cache)):
            assert "at most 2: remove pictures of yours" in bring()
    with asked_by(B):
        name, said = data_panel.take_upload(file)
        assert said == "" and access.count_claims() == 1
    for minutes, folder in ((9, "used"), (1, "new"), (5, "old")):
        (uploads_dir() / f"{folder}-1").mkdir()
        (uploads_dir() / f"{folder}-1" / "a.png").write_bytes(b"0" * 100_000)
        os.utime(uploads_dir() / f"{folder}-1", (time.time() - minutes * 60,) * 2)
    run = ended("run")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"dataset": "upload:used-1"}))
    most(monkeypatch, disk_bytes=500_000)
    with asked_by(A):
        jobs.sweep()
    assert run.exists() and set(list_uploads()) == {"used-1", "new-1", name.removeprefix("upload:")}


def bring_weights(cache: Path) -> str:
    """What is said of a file of weights that is brought in."""
    file = cache / "mine.safetensors"
    safetensors.torch.save_file(build_network("narrow_resnet", 50).state_dict(), file)
    given = (TEACHER.student.to_dict(), "emoji-clutter", 64)
    return handlers.take_weights(str(file), "", "0.5", "0.5", *given)["said"]


def test_weights_of_a_network_that_is_too_large_are_refused_before_it_is_built(cache, monkeypatch):
    monkeypatch.setattr(own_weights, "import_teacher", None)
    file = cache / "mine.safetensors"
    file.touch()
    student = {**TEACHER.student.to_dict(), "teacher": "vgg16"}
    with asked_by(A):
        said = handlers.take_weights(str(file), "", "0.5", "0.5", student, "emoji-clutter", 64)["said"]
    assert "of weights; here at most" in said


@pytest.mark.parametrize(("mean", "named"), [("grey", "Mean is"), ("0.5", "holds no weights")])
def test_uploaded_weights_are_gone_once_they_were_refused(cache, monkeypatch, mean, named):
    (cache / "gradio").mkdir()
    file = cache / "gradio" / "mine.safetensors"
    file.write_bytes(b"no weights")
    with asked_by(A):
        said = handlers.take_weights(str(file), "", mean, "0.5", TEACHER.student.to_dict(), "emoji-clutter", 64)["said"]
        assert handlers.take_weights(None, "", mean, "0.5", TEACHER.student.to_dict(), "emoji-clutter", 64)["said"]
    assert named in said and not file.exists()


def test_uploads_that_are_too_large_or_too_many_are_refused_at_the_door(cache, monkeypatch):
    most(monkeypatch, upload_bytes=1000)
    with asked_by(A):
        assert uploaded.refuse_upload(900) == "" and "at most" in uploaded.refuse_upload(10**12)
        (cache / "gradio").mkdir()
        (cache / "gradio" / "left").write_bytes(b"0" * 20_000)
        monkeypatch.setattr(uploaded, "_counted", [])
        assert "try again" in uploaded.refuse_upload(None)


def refused(path: str, **headers: str) -> int | None:
    """The status that the guard answers with itself."""
    sent: list[dict] = []

    async def app(scope, receive, send):
        await send({"type": "passed"})

    async def send(message):
        sent.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    with pytest.raises(StopIteration):
        Guard(app)({"type": "http", "path": path, "headers": given}, None, send).send(None)
    return sent[0].get("status")


def test_the_server_fetches_nothing_for_visitors(cache):
    paths = ["/gradio_api/file=http://a/b", "/gradio_api/file=HTTPS://a", "/gradio_api/proxy=https://a.hf.space/x"]
    with asked_by(A):
        assert [refused(path) for path in paths] == [403] * 3
        assert refused("/gradio_api/upload", content_length=str(10**15)) == 413
        assert refused("/gradio_api/file=/tmp/x") is None
    assert refused(paths[0]) is None


def test_processes_of_runs_are_told_no_secrets(monkeypatch):
    secrets = ["HF_TOKEN", "OAUTH_CLIENT_SECRET", "AWS_SECRET_ACCESS_KEY", "MY_KEY", "REDISTILL_LIMITS", "HF_TOKEN_2"]
    for name in secrets:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with asked_by(A):
        told = place.worker_environment()
    assert not set(secrets) & set(told) and "secret" not in told.values()
    assert told["PATH"] and told["CUDA_VISIBLE_DEVICES"] == "0" and told["SPACE_ID"]
    assert told["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"


@pytest.mark.parametrize("given", [None, "/srv/uploaded"])
def test_an_uploaded_file_is_called_by_its_name(monkeypatch, given):
    monkeypatch.setenv("GRADIO_TEMP_DIR", given) if given else monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    assert hide_places(f"Picture {get_upload_folder()}/{'0a' * 32}/my bad.jpg cannot") == "Picture my bad.jpg cannot"


def test_every_path_is_hidden_on_a_space_and_no_address():
    text = "File /usr/lib/python3/site-packages/torch/x.py at https://hf.co/a/b/c, a/b, 1/2 s, ~/x/y and /etc/passwd"
    with asked_by(A):
        shown = hide_places(text)
    assert shown == "File x.py at https://hf.co/a/b/c, a/b, 1/2 s, y and passwd"


def test_whether_gpus_are_lent_is_found_out(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(place.sys.modules, "spaces", place)
    assert not place.is_zero_gpu()
    with asked_by(A):
        assert place.is_zero_gpu()
        monkeypatch.setenv("SPACES_ZERO_GPU", "")
        assert not place.is_zero_gpu()
