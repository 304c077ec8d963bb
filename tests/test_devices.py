"""What the device is and has."""

import torch
from torch import nn

from redistill import devices
from redistill.devices import available_memory, prefers_speed

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


def test_only_large_networks_and_gpus_take_what_rounds_otherwise():
    small, large = nn.Linear(1000, 100, device="meta"), nn.Linear(3000, 2000, device="meta")
    assert [prefers_speed(model, CPU) for model in (small, large)] == [False, True]
    assert prefers_speed(small, torch.device("cuda"))
