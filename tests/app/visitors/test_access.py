"""On a Space everybody has what they made themselves, whichever way they ask for it; on a laptop nothing changes."""

from __future__ import annotations

import contextlib
import inspect
import json
import shutil
import time
import zipfile
from http.cookies import SimpleCookie
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.helpers import special_args
from helpers.made import TEACHER, small, write_checkpoint
from helpers.pictures import write_classes
from helpers.visitors import asked_by, signed_in

from app import ui
from app.compare import handlers as compare
from app.distill import data_panel, finished, handlers, watch
from app.generate import offered
from app.runs import answers as answers_of
from app.runs import brought, by_class, choices, exports, jobs, reports, results, run_list, saved
from app.visitors import access, who
from redistill.common import hub
from redistill.networks.student import StudentConfig
from redistill.training.presets import CLUTTER_TEACHER

A, B = "browser:a", "browser:b"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def run_of_a(shipped, untrained, cache):
    """The name of a finished run of A, among checkpoints that ship."""
    with asked_by(A):
        run = jobs.add_finished(
            small().to_dict(), "secret title", lambda to: shutil.copytree(untrained / CLUTTER_TEACHER, to)
        )
    (run.path / "log.txt").write_text("secret of A")
    return run.name


def touch_all(name: str) -> list[str]:
    """What everything that takes the name of a run answers, as text; each is on its own, whatever the others did."""
    drawn = {"name": name}
    event = SimpleNamespace(_data={"save": "log.txt"}, save="log.txt")
    answers = [
        watch.look(name, None),
        watch.stop_run(drawn),
        watch.resume_run(drawn),
        watch.extend_run(drawn, 99, None, None, "emoji-identity"),
    ]
    answers += [watch.ask_to_delete(drawn), watch.delete_run(name, name)]
    answers += [watch.save_file(gr.EventData(None, {"save": file}), drawn) for file in watch.FILES]
    answers += [finished.export_file(gr.EventData(None, {"save": kind}), drawn) for kind in ("onnx", finished.REPORT)]
    answers += [compare.export_ticked(gr.EventData(None, {"save": "onnx"}), (f"run:{name}",))]
    answers += [compare.refresh(ticked=[f"run:{name}"]), compare.chosen_config((f"run:{name}",))]
    answers += [offered.offer(f"run:{name}", [f"run:{name}"]), results.all_results(), run_list.list_runs()]
    for act in (run_list.read_run, jobs.stop, jobs.resume, jobs.delete, lambda name: jobs.extend(name, {"steps": 99}),
                answers_of.draw_test_picture, by_class.count_by_class, saved.zip_student):  # fmt: skip
        with pytest.raises(ValueError, match="No run"):
            act(*(name, run_list.runs_dir())[: 2 if act in (answers_of.draw_test_picture, saved.zip_student) else 1])
    for make in (lambda: exports.export_run(name, "onnx"), lambda: exports.export_results([f"run:{name}"], "onnx"),
                 lambda: reports.report_run(name)):  # fmt: skip
        with pytest.raises(ValueError, match="No run"):
            make()
    with pytest.raises(ValueError, match="expected one of"):
        choices.find(f"run:{name}", lambda metadata: True)
    return [*map(repr, answers), event.save]


def test_another_visitor_sees_nothing_of_a_run_and_touches_nothing_of_it(run_of_a):
    before = {file: file.read_bytes() for file in (run_list.runs_dir() / run_of_a).rglob("*") if file.is_file()}
    for others in ((B,), (), ("page:x", B)):
        with asked_by(*others):
            said = "".join(touch_all(run_of_a))
        assert "secret title" not in said and "secret of A" not in said and str(run_list.runs_dir()) not in said
    assert before == {file: file.read_bytes() for file in (run_list.runs_dir() / run_of_a).rglob("*") if file.is_file()}
    with asked_by(B, A):  # who has signed in keeps what the browser had made before
        assert [run.name for run in run_list.list_runs()] == [run_of_a]
        assert any(result.key == f"run:{run_of_a}" for result in results.all_results())
        jobs.delete(run_of_a)
        assert run_list.list_runs() == []


def test_no_event_of_the_page_tells_another_visitor_of_a_run(run_of_a, monkeypatch):
    """Whatever an event takes from the page, the run's name stands in it: as what is shown, chosen or asked about."""
    refuse = lambda *given, **named: (_ for _ in ()).throw(ValueError("no process"))  # noqa: E731
    monkeypatch.setattr("subprocess.Popen", refuse)
    ways = [{"name": run_of_a}, run_of_a, f"run:{run_of_a}", [f"run:{run_of_a}"]]
    page, told, asked = ui.build(), [], 0
    for block in page.fns.values():
        if not (getattr(block.fn, "__module__", "") or "").startswith("app.") or not block.inputs:
            continue
        for position, value in ((place, way) for place in range(len(block.inputs)) for way in ways):
            given = [part.value if isinstance(part, gr.State) else None for part in block.inputs]
            given[position], asked = value, asked + 1
            told.append(f"{block.fn.__qualname__}: {answer_of(block, given)}")
    assert asked > 200
    with asked_by(A):
        assert "secret title" in repr(watch.look(run_of_a, None)), "so it would be seen"
    secrets = ("secret title", "secret of A", str(run_list.runs_dir()))
    assert [words for words in told if any(secret in words for secret in secrets)] == []


def answer_of(block, given: list) -> str:
    """What an event's function answers to another visitor, or says in an error."""
    arguments = [dict(zip(block.inputs, given, strict=True))] if block.inputs_as_dict else given
    with asked_by(B), contextlib.suppress(TypeError):
        event = gr.EventData(None, {"save": "log.txt"})
        arguments, *_ = special_args(block.fn, arguments, gr.Request(session_hash="b"), event)
        try:
            answer = block.fn(*arguments)
            return repr(list(answer) if inspect.isgenerator(answer) else answer)
        except Exception as error:
            return str(error)
    return ""


def test_on_a_laptop_every_run_is_the_persons(run_of_a, shipped, monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert [run.name for run in run_list.list_runs()] == [run_of_a]
    assert access.owner() is None and access.has_claimed("upload", "any") and run_list.read_run(run_of_a)


def test_runs_of_the_shell_are_nobodys_on_a_space_and_what_ships_is_everybodys(shipped, cache):
    write_checkpoint(run_list.runs_dir() / "shell" / "student", TEACHER)
    for names in ((A,), ()):
        with asked_by(*names):
            assert run_list.list_runs() == []
            assert any(result.origin == results.READY for result in results.all_results())
            assert [choice.value for choice in choices.checkpoints(lambda metadata: True)]


def test_a_visitor_who_cannot_be_told_from_others_starts_nothing(shipped, cache):
    with asked_by(), pytest.raises(ValueError, match="Nobody can tell whose"):
        jobs.start(small().to_dict(), "Nobody's")
    assert run_list.everybodys() == []


def test_uploads_and_weights_are_of_those_who_brought_them(shipped, cache, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for file in sorted(write_pictures_of_two_classes(tmp_path / "pets")):
            archive.write(file, file.relative_to(tmp_path / "pets"))
    student = StudentConfig("narrow_resnet", 32, 2, red=None)
    with asked_by(A):
        name, said = data_panel.take_upload(str(tmp_path / "pets.zip"))
        assert said == "" and name in [value for _, value in data_panel.offered(student)]
        access.claim("teacher", "mine-32px")
    write_checkpoint(jobs.imported_dir() / "mine-32px", TEACHER)
    config = small(student=student, dataset=name).to_dict()
    with asked_by(B):
        assert name not in [value for _, value in data_panel.offered(student)]
        for ask in (data_panel.look_up, access.check_dataset):
            with pytest.raises(ValueError, match="bring the pictures in again"):
                ask(name)
        assert "cat" not in data_panel.show_pictures(name)
        with pytest.raises(ValueError, match="bring the pictures in again"):
            jobs.start(config, "Of A's pictures")
        assert "mine" not in repr(choices.checkpoints(lambda metadata: True))
        data_panel.take_upload(str(tmp_path / "pets.zip"))
        assert data_panel.look_up(name).num_classes == 2, "the same pictures are of both who bring them"
        assert brought.list_brought() == []
        with pytest.raises(ValueError, match="no weights 'mine-32px' here any more"):
            brought.remove(choices.IMPORTED + "mine-32px")
        access.claim("teacher", "mine-32px")
        brought.remove(choices.IMPORTED + "mine-32px")
        assert brought.list_brought() == [] and (jobs.imported_dir() / "mine-32px").exists(), "it is A's still"
    with asked_by(A):
        brought.remove(brought.list_brought()[0][1])
        assert not (jobs.imported_dir() / "mine-32px").exists()
    assert run_list.everybodys() == []


def write_pictures_of_two_classes(folder):
    write_classes(folder, {"cat": 12, "dog": 12})
    return folder.rglob("*.png")


FOREIGN = ["/etc", "../teachers/mine-32px", "{runs}/{run}/student", "{teachers}/mine-32px", "checkpoints/small"]
HIDDEN = ["ddpm:/etc", "ddpm:../x", "ddpm:~/x", "file:/tmp/x.py:net"]


@pytest.mark.parametrize("teacher", FOREIGN + HIDDEN)
def test_no_run_learns_from_what_is_not_the_visitors(run_of_a, teacher):
    places = {"runs": run_list.runs_dir(), "run": run_of_a, "teachers": jobs.imported_dir()}
    config = {**small().to_dict(), "teacher_checkpoint": teacher.format(**places)}
    with asked_by(B), pytest.raises(ValueError, match=r"expected|never opens"):
        jobs.start(config, "B's")
    student = {**config["student"], "teacher": teacher.format(**places)}
    if teacher in HIDDEN:
        with asked_by(B), pytest.raises(ValueError, match=r"expected|never opens"):
            jobs.start({**config, "teacher_checkpoint": None, "student": student}, "B's")
    with asked_by(B), pytest.raises(ValueError, match="command line"):
        jobs.start({**config, "teacher_checkpoint": None, "dataset": "folder:/etc"}, "B's")
    assert [run.name for run in run_list.everybodys()] == [run_of_a]


def cookie_of(sent: list[dict]) -> str:
    lines = [value.decode() for message in sent for name, value in message.get("headers", ()) if name == b"set-cookie"]
    return SimpleCookie(lines[0])[who.COOKIE].value if lines else ""


def open_page(path: str = "/", cookie: str = "", **scope) -> list[dict]:
    """What the page's server sends when a browser opens it."""
    sent: list[dict] = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})

    async def send(message):
        sent.append(message)

    headers = [(b"cookie", cookie.encode())] if cookie else []
    call = who.keep_visitors(app)(
        {"type": "http", "method": "GET", "path": path, "headers": headers} | scope, None, send
    )
    with pytest.raises(StopIteration):
        call.send(None)
    return sent


def test_a_browser_keeps_an_id_that_nobody_can_make_up(cache):
    with asked_by():
        number = cookie_of(open_page())
        assert access.is_signed(number) and not cookie_of(open_page(cookie=f"a=b; {who.COOKIE}={number}"))
        assert not cookie_of(open_page("/gradio_api/info")) and cookie_of(open_page(cookie=f"{who.COOKIE}=x"))
        secure = str(open_page(scheme="https"))
        assert "Secure; SameSite=None; Partitioned" in secure and "HttpOnly" in secure
        for forged in ("a" * 32 + "." + "0" * 64, number[:-1] + "x", "é" * 97, "", None, number + "0", f"{number}.."):
            assert not access.is_signed(forged)
    assert not cookie_of(open_page()), "on a laptop there is none"


def asked(cookie: str = "", session=None, page: str | None = None, **headers: str) -> list[str]:
    sent = {"cookie": cookie} | {name.replace("_", "-"): value for name, value in headers.items()}
    inner = SimpleNamespace(headers=sent, scope={"session": session} if session is not None else {})
    return who.names_of(gr.Request(inner, session_hash=page))


def test_a_request_says_who_sent_it(cache):
    number = access.signed()
    kept = f"browser:{number.partition('.')[0]}"
    person = {"oauth_info": {"userinfo": {"sub": "42", "isPro": True}, "expires_at": time.time() + 60}}
    late = {"oauth_info": {**person["oauth_info"], "expires_at": time.time() - 1}}
    cookie = f"{who.COOKIE}={number}"
    assert asked(cookie, person, "p") == ["account:42", kept]
    assert asked(cookie, late, "p") == asked(cookie, {}, "p") == asked(cookie, None, "p") == [kept]
    assert asked(f"{who.COOKIE}=forged", None, "p") == asked("", None, "p") == ["page:p"]
    assert asked(page=None) == [] and asked("a;;=\x00", {"oauth_info": 3}) == []
    request = gr.Request(SimpleNamespace(headers={}, scope={"session": person}))
    assert who.account(request)["isPro"] and who.account(gr.Request(session_hash="p")) is None


def test_a_program_is_known_by_its_secret_and_an_agent_by_nothing_else(cache):
    secret = "s" * who.SHORTEST_SECRET
    assert asked(page="p", authorization=f"Bearer {secret}") == [f"secret:{secret}"]
    assert asked(page="p", x_hf_authorization=f"bearer {secret}") == [f"secret:{secret}"]
    for short in (f"Bearer {secret[1:]}", f"Basic {secret}", "Bearer", secret):
        assert asked(page="p", authorization=short) == ["page:p"]
    assert asked(page="p", x_gradio_user="mcp") == [], "gradio hands on what all agents ask under one page"
    assert asked(page="p", x_gradio_user="api") == ["page:p"]


def test_files_name_nobody(run_of_a):
    job = json.loads((run_list.runs_dir() / run_of_a / "job.json").read_text())
    assert job["owner"] and A not in str(job) and "browser" not in str(job)


def test_the_token_is_of_who_has_signed_in_and_never_the_spaces(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_owner")
    with asked_by(A):
        assert who.token_of_request() is False
        with signed_in("hf_of_a"):
            assert who.token_of_request() == "hf_of_a"
        with signed_in("hf_of_a", seconds=-1):
            assert who.token_of_request() is False
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert who.token_of_request() is None  # the person's own


def test_the_hub_is_asked_without_the_spaces_own_token(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert hub.own_token() is None
    asked: list[dict] = []

    def download(**where):
        asked.append(where)
        return "." if len(asked) % 2 == 0 else []

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with asked_by(A):
        hub.fetch("a/b", title="a/b", most_bytes=1)
    assert len(asked) == 2 and all(where["token"] is False for where in asked)


def test_hub_ids_are_no_paths():
    assert all(map(hub.is_hub_id, ("google/ddpm-cifar10-32", "https://huggingface.co/google/x", "a/b@main")))
    assert not any(map(hub.is_hub_id, ("/etc", "a", "a/b/c", "../a", "a/../b", "~/x", "")))


def test_the_form_offers_and_takes_nothing_of_others(run_of_a):
    with asked_by(B):
        shown = handlers.take_preset(None, "quick")
        assert run_of_a not in repr(shown)
        config = run_list.read_folder(run_list.runs_dir() / run_of_a).config
        shown = handlers.take_config({**config, "teacher_checkpoint": str(run_list.runs_dir() / run_of_a / "student")})
        assert "secret title" not in repr(shown["teacher_checkpoint"])
