"""Hub data sets from small repositories in the Hub's own cache layout, without a network."""

from __future__ import annotations

import io
import shutil

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.pictures import picture
from huggingface_hub import constants
from huggingface_hub.errors import RepositoryNotFoundError

from redistill.checkpoint.sources import find_pipeline
from redistill.data.datasets import find_dataset, load_split

COMMIT = "0123456789" * 4


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty Hub cache that is looked into without a network."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return tmp_path / "hub"


def store(hub, repo: str, files: dict[str, bytes], branch: str = "main") -> None:
    """A repository as a download leaves it."""
    folder = hub / f"datasets--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / branch).write_text(COMMIT)
    for name, content in files.items():
        path = folder / "snapshots" / COMMIT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def png(seed: int) -> bytes:
    file = io.BytesIO()
    picture(seed).save(file, "PNG")
    return file.getvalue()


def parquet(columns: dict[str, list], **features) -> bytes:
    kinds = datasets.Features(features)
    file = io.BytesIO()
    datasets.Dataset.from_dict(columns, features=kinds).to_parquet(file)
    return file.getvalue()


def pictures(labels: list[int], seed: int = 0) -> bytes:
    images = [{"bytes": png(seed + row), "path": None} for row in range(len(labels))]
    kind = datasets.ClassLabel(names=["cat", "dog"])
    return parquet({"img": images, "label": labels}, img=datasets.Image(), label=kind)


def paths(path: str) -> bytes:
    """Nine pictures that are only named; `datasets` itself would write their bytes."""
    schema = datasets.Features(image=datasets.Image()).arrow_schema
    file = io.BytesIO()
    pq.write_table(pa.table({"image": [{"bytes": None, "path": path}] * 9}, schema=schema), file)
    return file.getvalue()


def test_parquet_with_two_splits(hub):
    files = {
        "data/train-00000-of-00002.parquet": pictures([0, 1] * 10),
        "data/train-00001-of-00002.parquet": pictures([0, 1] * 10, seed=50),
        "data/test-00000-of-00001.parquet": pictures([1, 0, 1], seed=100),
    }
    store(hub, "me/pets", files)
    spec = find_dataset("hub:me/pets")
    assert spec.class_names == ("cat", "dog") and spec.split_sizes == {"train": 36, "validation": 4, "test": 3}
    assert spec.attribution == "huggingface.co/datasets/me/pets"
    test = load_split("hub:me/pets", "test", 16)
    assert test.images.shape == (3, 3, 16, 16) and sorted(test.labels.tolist()) == [0, 1, 1]
    train = load_split("hub:me/pets", "train", 16)
    assert len({image.numpy().tobytes() for image in train.images}) == 36


def test_folders_of_pictures(hub):
    names = [f"{split}/{name}/{number}.png" for split in ("train", "validation") for name in "ab" for number in (1, 2)]
    store(hub, "me/folders", {name: png(row) for row, name in enumerate(names)})
    assert find_dataset("hub:me/folders").split_sizes == {"train": 2, "validation": 2, "test": 4}
    assert load_split("hub:me/folders", "test", 8).images.shape == (4, 3, 8, 8)


def test_pictures_without_labels_are_for_generation(hub):
    images = [{"bytes": png(row), "path": None} for row in range(12)]
    store(hub, "me/faces", {"data.parquet": parquet({"image": images}, image=datasets.Image())})
    spec = find_dataset("hub:me/faces")
    assert spec.tasks == ("generation",) and spec.split_sizes == {"train": 10, "validation": 1, "test": 1}


@pytest.mark.parametrize("label", [-1, None])
def test_a_test_split_without_labels_is_no_test_split(hub, label):
    files = {"data/train-0.parquet": pictures([0, 1] * 5), "data/test-0.parquet": pictures([label, label])}
    store(hub, "me/contest", files)
    assert find_dataset("hub:me/contest").split_sizes == {"train": 6, "validation": 2, "test": 2}


def test_two_splits_of_one_kind_are_refused_and_none_is_lost_without_a_word(hub):
    card = (
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        + "".join(f"  - split: {name}\n    path: {name}.parquet\n" for name in ("train", "val", "validation"))
        + "---\n"
    )
    files = {f"{name}.parquet": pictures([0, 1] * 5) for name in ("train", "val", "validation")}
    store(hub, "me/twice", {"README.md": card.encode(), **files})
    with pytest.raises(ValueError, match="val and validation are both validation pictures; expected one such split"):
        find_dataset("hub:me/twice")


def test_configurations_and_revisions_are_part_of_the_name(hub):
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files: one.parquet\n- config_name: two\n"
        "  data_files: two.parquet\n---\n"
    )
    files = {"README.md": card.encode(), "one.parquet": pictures([0, 1] * 5), "two.parquet": pictures([0, 1] * 10)}
    store(hub, "me/both", files, branch="v1")
    assert find_dataset("hub:me/both#two@v1").split_sizes["train"] == 16
    with pytest.raises(ValueError, match=r"several configurations, write .*#NAME with one of \['one', 'two'\]"):
        find_dataset("hub:me/both@v1")


def test_offline_one_sentence_says_what_to_do(hub):
    with pytest.raises(
        ValueError, match=rf"^Hub data set me/none is not in {hub} and the Hub cannot be reached; "
    ) as e:
        find_dataset("hub:me/none")
    assert "hf download me/none --repo-type dataset" in str(e.value) and "\n" not in str(e.value)


BAD_REVISIONS = ["../../../etc", "a/../../b", "/etc", "a//b", ".", "a/.", "~", "x" * 200, "a/" * 20 + "b", "http://x"]
NO_IDS = [
    "",
    "a/b/c",
    "../x",
    "a b",
    "me/x#",
    "me/x@",
    "<script>",
    "me/x" * 100,
    *(f"me/x@{bad}" for bad in BAD_REVISIONS),
    *(f"me/x#{bad}" for bad in (".", "..", "...", "-", "../x", "a/b", "~", "c:")),
]


@pytest.mark.parametrize("revision", BAD_REVISIONS)
def test_a_networks_revision_leads_nowhere_else(hub, revision):
    with pytest.raises(ValueError, match="expected a folder"):
        find_pipeline(f"me/x@{revision}")
    with pytest.raises(ValueError, match="no Hub id"):
        find_pipeline(f"me/x@{revision}", folders=False)


OUTSIDE = ["../../../secret.csv", "/SECRET", "data/../../../../secret.csv", "http://127.0.0.1:1/x.csv", "file:SECRET"]
OUTSIDE += ["file:///SECRET", "zip://a.csv::/SECRET", "hf://datasets/a/b/x.csv", "~/secret.csv", "..", "s3://a/b.csv"]
CARD = "---\nconfigs:\n- config_name: default\n  {}\n---\n"
FORMS = {
    "text": "data_files: '{}'",
    "list": "data_files: ['own.csv', '{}']",
    "split": "data_files: [{{split: train, path: 'own.csv'}}, {{split: test, path: '{}'}}]",
    "listed split": "data_files: [{{split: train, path: ['own.csv', '{}']}}]",
    "folder": "data_dir: '{}'",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_card_leads_to_no_file_outside_of_the_repository(hub, tmp_path, form, monkeypatch):
    """Neither on this machine nor in the network; nothing is even looked for."""
    (tmp_path / "secret.csv").write_text("password\n1\n")
    monkeypatch.setattr(datasets, "load_dataset_builder", None)
    monkeypatch.setattr(datasets, "get_dataset_config_names", None)
    for number, path in enumerate(OUTSIDE):
        path = path.replace("/SECRET", str(tmp_path / "secret.csv")).replace("SECRET", str(tmp_path / "secret.csv"))
        text = CARD.format(FORMS[form].format(path))
        name = ("README.md", ".huggingface.yaml")[number % 2]
        content = text if number % 2 == 0 else text.strip("-\n")
        shutil.rmtree(hub, ignore_errors=True)
        store(hub, "me/card", {name: content.encode(), "own.csv": b"a\n1\n"})
        with pytest.raises(ValueError, match=r"its card names .*which lies outside of it") as caught:
            find_dataset("hub:me/card")
        assert "password" not in str(caught.value)


def test_what_is_found_is_checked_before_it_is_read(hub, tmp_path, monkeypatch):
    """A way that no look at the card sees, as a link: the files that `datasets` found are held to the repository."""
    (tmp_path / "secret.csv").write_text("password\n1\n")
    store(hub, "me/link", {"own.csv": b"a\n1\n"})
    (hub / "datasets--me--link" / "snapshots" / COMMIT / "train.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(ValueError, match="lies outside of the data set's repository"):
        find_dataset("hub:me/link")


@pytest.mark.parametrize("name", NO_IDS)
def test_what_is_no_id_is_refused_before_anything_is_asked(name):
    with pytest.raises(ValueError, match="expected owner/name"):
        find_dataset(f"hub:{name}")


def test_data_without_pictures_or_with_damaged_ones(hub):
    store(hub, "me/text", {"data.csv": b"a,b\n1,2\n"})
    with pytest.raises(ValueError, match=r"has no column of pictures; its columns are \['a', 'b'\]"):
        find_dataset("hub:me/text")
    store(hub, "me/broken", {"data/train-0.parquet": pictures([0, 1] * 5)[:-200]})
    with pytest.raises(ValueError, match=r"^Hub data set me/broken cannot be read \("):
        find_dataset("hub:me/broken")
    images = [{"bytes": png(row)[: 60 if row == 4 else None], "path": None} for row in range(9)]
    store(hub, "me/cut", {"data.parquet": parquet({"image": images}, image=datasets.Image())})
    with pytest.raises(ValueError, match="Picture number 4 cannot be read"):
        for split in ("train", "validation", "test"):
            load_split("hub:me/cut", split, 8)


def test_paths_in_the_data_lead_to_no_file_outside_of_the_repository(hub, tmp_path):
    (tmp_path / "private.png").write_bytes(png(0))
    snapshot = hub / "datasets--me--paths" / "snapshots" / COMMIT
    for number, path in enumerate((tmp_path / "private.png", snapshot / "../../../../private.png", "/etc/passwd")):
        shutil.rmtree(hub, ignore_errors=True)
        store(hub, "me/paths", {"data.parquet": paths(str(path))}, f"b{number}")
        with pytest.raises(ValueError, match=r"cannot be read .*lies outside of the data set's repository"):
            load_split(f"hub:me/paths@b{number}", "train", 8)
    shutil.rmtree(hub)
    store(hub, "me/paths", {"data.parquet": paths(str(snapshot / "own.png")), "own.png": png(1)}, "own")
    assert load_split("hub:me/paths@own", "train", 8).images.shape[1:] == (3, 8, 8)


def test_too_large_a_download_is_refused_and_the_hubs_answer_told(hub, monkeypatch):
    """The answers of the Hub, which only a network gives, are put in the place of `snapshot_download`'s."""

    def answer(repo_id, dry_run=False, **settings):
        if repo_id == "me/secret":
            import httpx2

            reply = httpx2.Response(404, request=httpx2.Request("GET", "https://huggingface.co"))
            raise RepositoryNotFoundError("404 Client Error.\n\nRepository Not Found for url: x.", response=reply)
        if not dry_run:
            raise AssertionError("nothing is downloaded")
        return [type("File", (), {"file_size": 20 * 2**30, "will_download": True})] * 2

    monkeypatch.setattr("huggingface_hub.snapshot_download", answer)
    with pytest.raises(ValueError, match=r"me/large is 40 GiB to download; expected at most 30\. What `hf download"):
        find_dataset("hub:me/large")
    with pytest.raises(ValueError, match=r"^The Hub does not give data set me/secret \(there is none of that name"):
        find_dataset("hub:me/secret")
