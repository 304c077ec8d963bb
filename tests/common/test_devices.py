"""What the device is and has."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers.unets import TINY
from torch import nn

from redistill.common import devices
from redistill.common.devices import available_memory
from redistill.data.source import Split
from redistill.diffusion.quality import FeatureNetwork
from redistill.diffusion.sampling import sample
from redistill.networks import schedule
from redistill.networks.student import StudentConfig
from redistill.networks.unet import UNet
from redistill.training import diffusion
from redistill.training.classification import accuracy
from redistill.training.config import DistillConfig

CPU = torch.device("cpu")


def test_a_container_s_limit_counts_and_its_file_cache_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    machine = available_memory(CPU)
    assert machine > 2**20  # nothing of a limit is there
    for name, text in {"max": "5000", "current": "4000", "stat": "anon 3000\ninactive_file 700\n"}.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert available_memory(CPU) == 5000 - 4000 + 700
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory(CPU) > 2**20


def allowed():
    return [place.allow_tf32 for place in (torch.backends.cudnn, torch.backends.cuda.matmul)]


def test_figures_and_pictures_are_made_in_fp32_on_gpus_too():
    """What a GPU is allowed to round while networks are judged, drawn with, and trained."""
    before, seen = allowed(), []
    note = lambda *args: seen.append(allowed())  # noqa: E731
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    unet = UNet(**TINY)
    for network in (classifier, unet):
        network.register_forward_pre_hook(note)
    split = Split(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    accuracy(classifier, split)
    *_, record = sample(unet, [0], steps=2, measure=False)
    problem = SimpleNamespace(
        config=DistillConfig(StudentConfig("unet_small", 32, red=None), "emoji-faces"),
        validation=Split(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        augmentation="none",
        noise_scheduler=schedule.noise_scheduler("epsilon"),
        device=CPU,
    )
    diffusion.judge(problem, unet, problem.validation)
    FeatureNetwork("", lambda images: classifier(images.float()))(split.images)
    assert record.done and len(seen) == 1 + 2 + 8 + 1 and all(state == [False, False] for state in seen)
    assert allowed() == before and True in before
    classifier(split.images.float())
    assert seen[-1] == before


def test_only_large_unets_and_those_on_gpus_train_in_channels_last():
    small, large = nn.Linear(1000, 100, device="meta"), nn.Linear(3000, 2000, device="meta")
    assert [diffusion.prefers_channels_last(model, CPU) for model in (small, large)] == [False, True]
    assert diffusion.prefers_channels_last(small, torch.device("cuda"))


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is asked")
def test_a_process_that_trains_takes_freed_memory_up_again():
    program = """
import resource, torch
from redistill.common.devices import keep_freed_memory
def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(2**24).fill_(1)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given_back = new_pages(), new_pages()
assert keep_freed_memory()
for _ in range(5):
    new_pages()  # the heap grows to what it will keep
print(min(given_back), min(new_pages() for _ in range(5)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert given_back > 100 > kept, (given_back, kept)


@pytest.mark.process
def test_threads_that_end_may_trace_one_after_the_other():
    """As those of a server do, in which it would end the whole process."""
    program = """
import threading, torch
from torch._subclasses.fake_tensor import FakeTensorMode
from redistill.common.devices import keep_device_guard
keep_device_guard()
def trace():
    with FakeTensorMode():
        torch.zeros(2)
for _ in range(6):
    thread = threading.Thread(target=trace)
    thread.start()
    thread.join()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("name", ["meta", "mps", "xpu", "cpu:1", "gpu", "", "cuda:x"])
def test_a_device_that_nobody_computes_on_here_is_one_sentence(name):
    with pytest.raises(ValueError, match=f"^Device is {name!r}; expected 'cpu', 'cuda' or"):
        devices.check_device(name)
    assert devices.check_device("cpu").type == devices.check_device("cpu:0").type == "cpu"
