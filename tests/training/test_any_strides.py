"""One network for every budget: strides that change at every step, statistics of each, and fixed students."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from helpers.made import small
from helpers.pictures import write_classes
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint import sources
from redistill.checkpoint.metadata import read_metadata
from redistill.cli.commands import main
from redistill.data.datasets import drawn_from, load_split
from redistill.data.source import Split
from redistill.memory import capture
from redistill.memory.comparison import compare
from redistill.memory.search import Candidate, search_strides
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.strides import apply_strides, set_strides
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import build_network
from redistill.training import shared_weights
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.recalibration import recalibrate, statistics_of
from redistill.training.shared_weights import best_within, extract, measure, measured, network_at, open_shared
from redistill.training.stride_store import FIGURES, STATISTICS, Measured, key_of, read_statistics, write_statistics
from redistill.training.stride_vectors import VectorSpace, space_of, vector_space

BARE = StudentConfig("narrow_resnet", 32, 50, red=None)
EARLY = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
BLOCKS = replace(BARE, strides=EARLY, red=REDConfig(), alignment="stage-wise")


@pytest.fixture(scope="module")
def run(tmp_path_factory, finished_run):
    """Folder of a finished run of one network for every budget, six steps long."""
    folder = tmp_path_factory.mktemp("any") / "run"
    list(distill(any_config(finished_run), folder))
    return folder


@pytest.fixture
def shared(run, tmp_path):
    """A copy of its checkpoint, of which nothing was measured yet."""
    copied = tmp_path / "weights"
    copied.mkdir()
    for name in ("config.json", "model.safetensors"):
        (copied / name).write_bytes((run / "student" / name).read_bytes())
    return open_shared(copied)


def any_config(finished_run, **settings):
    given = {"teacher_checkpoint": str(finished_run / "student"), "init": "teacher", "red_weight": 0.0}
    return small(**given | {"kd_weight": 0.2, "stride_vectors": 3, "validate_every": 6} | settings)


def gone(*arguments, **named):
    raise ValueError("there are no pictures")


def even_pools(num_classes):
    """Pools of even windows, which at stride 1 become something else and back."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes))


@pytest.mark.parametrize(
    "build", [partial(build_network, "narrow_resnet"), partial(build_network, "mobilenet_v2"), even_pools]
)
def test_strides_switch_in_place_and_back(build):
    model = build(4).eval()
    images = torch.rand(1, 3, 64, 64)
    points = find_pooling_points(model, 64)
    before = model(images)
    for vector in ({points[0].name: 2, points[-1].name: 1}, {points[1].name: 1}, {}):
        apply_strides(model, points, vector)
        fresh = build(4).eval()
        fresh.load_state_dict(model.state_dict())
        assert torch.equal(model(images), set_strides(fresh, vector, 64)(images))
    assert torch.equal(model(images), before)


@pytest.mark.parametrize("name", ["narrow_resnet", "resnet18", "mobilenet_v2"])
def test_a_space_holds_what_needs_no_more_memory_than_the_network_itself(name):
    space = vector_space(StudentConfig(name, 64, red=None))
    assert space.find(space.largest.strides).peak_bytes == space.largest.peak_bytes
    assert {one.reduction for one in space.candidates} == {space.largest.reduction}
    peaks = [one.peak_bytes for one in space.candidates]
    assert peaks == sorted(peaks) and peaks[-1] <= space.largest.peak_bytes
    probes = space.probes()
    assert space.largest in probes and space.front[0] in probes and space.front[-1] in probes


class Gapped(nn.Module):
    """Its arena is larger than what is ever alive in it: maps are joined to what they were made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1)
        widths = ((2, 40, 23), (25, 29, 6))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(taken, inner, 1), nn.Conv2d(inner, given, 3, 1, 1))
            for taken, inner, given in widths
        )
        self.last = nn.Conv2d(31, 4, 3, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down(self.stem(x))
        for block in self.blocks:
            x = torch.cat([x, block(x)], 1)
        return self.last(x)


def test_a_space_misses_none_that_fits_where_the_network_does():
    tape = capture(Gapped(), (1, 3, 32, 32))
    found, space = search_strides(tape, red=None), space_of(tape, 32)
    own = found.teacher
    assert own.needed_bytes > own.peak_bytes
    fitting = [one for one in found.candidates if one.needed_bytes <= own.needed_bytes]
    assert any(one.peak_bytes > own.peak_bytes and one in found.front for one in fitting), "none shows what it is about"
    assert set(map(key, fitting)) <= set(map(key, space.candidates)) < set(map(key, found.candidates))
    assert found.within(own.needed_bytes) == space.front[: len(found.within(own.needed_bytes))]


def key(candidate: Candidate) -> tuple[int, ...]:
    return tuple(candidate.strides.values())


def test_a_space_counts_the_classes_of_its_own_network():
    few, many = (vector_space(StudentConfig("narrow_resnet", 64, num_classes=count, red=None)) for count in (10, 50))
    assert many.largest.macs - few.largest.macs == 128 * 40
    assert few.largest.macs == compare(StudentConfig("narrow_resnet", 64, num_classes=10, red=None)).teacher.macs


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_step_sees_anchors_and_random_vectors(count):
    space, own, smallest, drawn = vector_space(BARE), 0, 0, set()
    for step in range(12):
        vectors = [space.draw(count, torch.Generator().manual_seed(step), step) for _ in range(2)]
        assert vectors[0] == vectors[1] and len(vectors[0]) == count
        own += any(one == space.largest for one in vectors[0])
        smallest += any(one == space.smallest for one in vectors[0])
        drawn |= {tuple(one.strides.values()) for one in vectors[0]}
    assert own >= 4 and smallest >= 4 and len(drawn) > 8


def test_what_favours_the_front_draws_mostly_from_it():
    space, generator = vector_space(BARE), torch.Generator().manual_seed(0)
    front = {tuple(one.strides.values()) for one in space.front}
    share = {
        favours: sum(
            tuple(space.draw(2, generator, step, favours)[-1].strides.values()) in front for step in range(400)
        )
        / 400
        for favours in (False, True)
    }
    even = len(front) / len(space.candidates)
    assert share[False] == pytest.approx(even, abs=0.08)
    assert share[True] == pytest.approx(0.75 + even / 4, abs=0.08) and share[True] > share[False] + 0.2


@pytest.mark.parametrize(("count", "favours"), [(2, False), (2, True), (5, False)])
def test_the_computation_of_a_step_is_that_of_the_vectors_it_draws(count, favours):
    space, generator = vector_space(BARE), torch.Generator().manual_seed(0)
    steps = [sum(one.bare_macs for one in space.draw(count, generator, step, favours)) for step in range(3000)]
    assert space.mean_macs(count, favours) == pytest.approx(sum(steps) / 3000, rel=0.02)


@pytest.mark.parametrize("sampling", ["even", "front"])
def test_a_run_draws_as_its_settings_say(tmp_path, finished_run, monkeypatch, sampling):
    asked, draw = [], VectorSpace.draw
    monkeypatch.setattr(VectorSpace, "draw", lambda *given: asked.append(given[-1]) or draw(*given))
    next(distill(any_config(finished_run, stride_sampling=sampling, steps=1), tmp_path))
    assert set(asked) == {sampling == "front"}


def test_strides_are_measured_on_a_copy_of_the_pictures_and_on_no_others(shared, tmp_path):
    """As those of a set that has to be downloaded, which someone has as a zip file."""
    write_classes(tmp_path / "copy", {"cats": 6, "dogs": 6})
    write_classes(tmp_path / "other", {"cats": 7, "dogs": 6})
    copy, other = (f"folder:{tmp_path / name}" for name in ("copy", "other"))
    file = shared.folder / "config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"dataset": "imagenette", "drawn_from": drawn_from(copy)})
    )
    assert open_shared(shared.folder, copy).metadata.dataset == copy
    for wrong in (other, "emoji-clutter"):
        with pytest.raises(ValueError, match=f"{wrong} has other pictures than imagenette"):
            open_shared(shared.folder, wrong)
    assert main(["evaluate", str(shared.folder), "--all-strides", "--dataset", other]) != 0


def test_statistics_are_means_over_whole_batches_and_change_nothing_else(monkeypatch):
    monkeypatch.setattr("redistill.training.recalibration.BATCH", 8)
    model = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.LazyLinear(2))
    images = torch.randint(256, (20, 3, 4, 4), dtype=torch.uint8)
    model(images[:2].float())
    weights = [parameter.clone() for parameter in model.parameters()]
    recalibrate(model, Split(images, torch.zeros(20, dtype=torch.long)))
    batches = (images[:16].double() / 127.5 - 1).split(8)
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    variances = torch.stack([batch.transpose(0, 1).flatten(1).var(1) for batch in batches]).mean(0)
    assert torch.allclose(model[0].running_mean.double(), means, atol=1e-6)
    assert torch.allclose(model[0].running_var.double(), variances, atol=1e-6)
    assert model.training and model[0].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stride_vectors": 1}, "stride_vectors"),
        ({"stride_vectors": -2}, "stride_vectors"),
        ({"student": replace(BARE, red=REDConfig())}, "set alignment to stage-wise, or leave RED blocks out"),
        ({"red_weight": 1.0}, "set red_weight to 0"),
        ({"student": BLOCKS, "feature_loss": "at"}, "set feature_loss to none"),
        ({"student": replace(BLOCKS, architecture="mobilenet_v2")}, "architecture is 'mobilenet_v2'; leave RED"),
        ({"student": replace(BARE, stem="wide")}, "another kernel at each choice"),
        ({"student": StudentConfig("unet_small", 32, red=None), "dataset": "emoji-faces"}, "classifiers"),
    ],
)
def test_what_cannot_be_trained_so_is_refused(finished_run, changes, named):
    with pytest.raises(ValueError, match=named):
        any_config(finished_run, **changes)


def test_strides_of_another_reduction_are_refused(tmp_path, finished_run):
    config = any_config(finished_run, student=replace(BARE, strides={"conv1": 2}))
    with pytest.raises(ValueError, match="reduction of 16"):
        next(distill(config, tmp_path))


def test_a_run_that_was_stopped_goes_on_exactly(tmp_path, finished_run):
    config = any_config(finished_run)
    for name, stops in (("whole", (5,)), ("parts", (2, 3, 5))):
        for stop in stops:
            records = distill(config, tmp_path / name)
            next(record for record in records if record["step"] == stop)
            records.close()
    whole, parts = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "parts"))
    assert whole["step"] == parts["step"] == 5
    assert all(torch.equal(value, parts["model"][name]) for name, value in whole["model"].items())


def test_a_run_ends_with_an_ordinary_checkpoint_of_its_own_strides(run):
    metadata = read_metadata(run / "student")
    assert {"test_accuracy", "test_front_accuracy", "validation_front_accuracy"} <= metadata.metrics.keys()
    model = checkpoint.load(run / "student")
    kept = statistics_of(model)
    recalibrate(model.to(memory_format=torch.channels_last), load_split("emoji-clutter", "train", 32, 48))
    assert all(torch.allclose(value, kept[name], atol=1e-5) for name, value in statistics_of(model).items())


def test_red_blocks_stand_at_the_same_layers_at_all_strides(tmp_path, finished_run):
    """Trained as they are at one choice, they are what `build_student` puts in at any other."""
    folder = tmp_path / "run"
    records = list(distill(any_config(finished_run, student=BLOCKS, red_weight=1.0), folder))
    steps = [record for record in records if record["kind"] == "step"]
    assert all(step["red_loss"] > 0 for step in steps) and read_metadata(folder / "student").student == BLOCKS
    shared = open_shared(folder / "student")
    space = shared.space
    without = vector_space(replace(BLOCKS, red=None))
    assert set(map(key, space.candidates)) < set(map(key, without.candidates))
    for one in space.candidates[:: len(space.candidates) // 4]:
        student = replace(BLOCKS, strides=one.strides)
        found = compare(student)
        assert (one.peak_bytes, one.macs) == (found.student.peak_bytes, found.student.macs) and one.macs > one.bare_macs
        assert one.peak_bytes <= found.teacher.needed_bytes
        built = build_student(student)
        model = network_at(shared, one.strides)
        built.load_state_dict(model.state_dict())
        images = torch.rand(2, 3, 32, 32)
        assert torch.equal(built.eval()(images), model(images))
    fixed = read_metadata(extract(shared, space.smallest.strides, tmp_path / "fixed"))
    assert fixed.student == replace(BLOCKS, strides=space.smallest.strides)
    assert fixed.metrics["fused_peak_bytes"] == space.smallest.peak_bytes


def test_red_blocks_for_all_strides_have_to_leave_some(tmp_path, finished_run):
    with pytest.raises(ValueError, match=r"choices that one network is trained for.*need no more memory than the net"):
        next(distill(any_config(finished_run, student=replace(BLOCKS, strides={})), tmp_path))


def test_a_fixed_student_is_the_network_at_its_strides(shared, tmp_path, monkeypatch):
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    first = network_at(shared, EARLY)
    found = measure(shared, EARLY, 8)
    assert found.count == 8 and found.interval[0] <= found.accuracy <= found.interval[1]
    assert not torch.equal(first(images), network_at(shared, {})(images))
    monkeypatch.setattr(shared_weights, "load_split", gone)  # what was measured is kept
    assert measure(shared, EARLY, 8) == found
    metadata = read_metadata(extract(shared, EARLY, tmp_path / "fixed"))
    student = checkpoint.load(tmp_path / "fixed")
    assert torch.equal(student(images), first(images)) and torch.equal(first(images), network_at(shared, EARLY)(images))
    assert metadata.student == replace(BARE, strides=EARLY) and metadata.metrics["validation_pictures"] == 8
    assert DistillConfig.from_dict({**metadata.training, "student": metadata.student}).student == metadata.student
    with pytest.raises(ValueError, match="one choice of strides"):
        open_shared(tmp_path / "fixed")
    with pytest.raises(ValueError, match=r"8-1-1-1-2.*no pictures"):
        network_at(shared, {"conv1": 8, "maxpool": 1, "layer2.0": 1, "layer3.0": 1})
    for strides in ({"conv9": 2}, {"conv1": 0}, {"conv1": 64}):
        with pytest.raises(ValueError, match="conv"):
            network_at(shared, strides)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"weights": "others", "strides": {}}', None])
def test_what_is_damaged_or_of_other_weights_is_measured_again(shared, damage):
    measure(shared, EARLY, 8)
    for name in (FIGURES, STATISTICS):
        (shared.folder / name).unlink() if damage is None else (shared.folder / name).write_bytes(damage)
    assert measured(shared) == {}
    assert measure(shared, EARLY, 8).count == 8 and list(measured(shared)) == ["4-1-2-2-1"]


def test_what_ships_stays_as_it_is_and_what_is_new_goes_to_the_cache(shared, monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "SHIPPED", shared.folder.parent)
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    before = sorted(shared.folder.iterdir())
    monkeypatch.setattr(shared_weights, "load_split", lambda *a: load_split(*a))
    found = measure(shared, EARLY, 8)
    assert sorted(shared.folder.iterdir()) == before and measured(shared) == {"4-1-2-2-1": found}
    shared_weights.save_beside(shared)
    assert {FIGURES, STATISTICS} <= {path.name for path in shared.folder.iterdir()}
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(shared_weights, "load_split", gone)
    assert measure(shared, EARLY, 8) == found and network_at(shared, EARLY)


def test_a_budget_takes_the_best_that_was_measured(shared):
    space = shared.space
    with pytest.raises(ValueError, match="least is"):
        best_within(shared, space.smallest.peak_bytes - 1)
    with pytest.raises(ValueError, match="--all-strides"):
        best_within(shared, space.smallest.peak_bytes)
    rows = {}
    for right, one in zip((5, 9, 7, 9), space.candidates, strict=False):
        rows["-".join(map(str, one.strides.values()))] = Measured(one.strides, right, 10)
    shared_weights.write_figures(shared.folder, shared.fingerprint, rows)
    assert best_within(shared, space.largest.peak_bytes).strides == space.candidates[1].strides
    lucky = key_of(space.candidates[0].strides)
    rows[lucky] = Measured(space.candidates[0].strides, 2, 2)  # all right, of which two pictures say little
    shared_weights.write_figures(shared.folder, shared.fingerprint, rows)
    assert best_within(shared, space.largest.peak_bytes).strides == space.candidates[1].strides
    front = shared_weights.front_of(shared_weights.points_of(shared, space.candidates))
    assert key_of(front[0][0].strides) == key_of(space.candidates[1].strides)  # which needs no more memory


def test_the_shell_measures_and_extracts(shared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(shared_weights, "load_split", lambda n, s, z, limit, seed: load_split(n, s, z, 8, seed))
    few = replace(shared.space, candidates=shared.space.candidates[:4])
    monkeypatch.setattr(shared_weights, "vector_space", lambda student: few)
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", str(shared.folder), "--all-strides", "--save"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(shared.space.candidates)
    kept = json.loads((shared.folder / FIGURES).read_text())
    assert len(kept["strides"]) == len(shared.space.candidates)
    assert main(["extract", str(shared.folder), "--budget", "1MiB"]) == 0
    said = capsys.readouterr().out
    assert "% of the test pictures right" in said and "never trained" not in said
    assert main(["extract", str(shared.folder), "--strides", "layer4.0=1"]) == 0
    assert "never trained at these strides" in capsys.readouterr().out
    assert main(["extract", str(shared.folder), "--strides", "conv1=4,maxpool=1,layer4.0=1"]) == 0
    capsys.readouterr()
    assert checkpoint.load(tmp_path / "runs" / "weights-4-1-2-2-1" / "student")
    for wrong in ([], ["--strides", "conv1=4", "--budget", "1MiB"], ["--budget", "1"], ["--strides", "nothing=2"]):
        assert main(["extract", str(shared.folder), *wrong]) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_statistics_can_be_read_by_whom_the_umask_lets(tmp_path):
    write_statistics(tmp_path, "weights", {"conv1=1": torch.zeros(2)})
    (tmp_path / "other").touch()
    assert (tmp_path / STATISTICS).stat().st_mode == (tmp_path / "other").stat().st_mode
    assert read_statistics(tmp_path, "weights")["conv1=1"].equal(torch.zeros(2))
