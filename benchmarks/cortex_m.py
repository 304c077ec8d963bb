"""What ExecuTorch plans for Cortex-M in int8, beside our C file's arena.

    python -m benchmarks.cortex_m [--quick] [--json FILE]

ExecuTorch 1.5.1, whose quantizer and passes for Cortex-M 1.2.0 lacks, is installed into an environment of its own in
the cache folder on first use (pip, 380 MB), on top of the packages here. What it plans does not hang on pictures, so
that random ones calibrate. A row a network: the C file's arena, ExecuTorch's without its input, which is in floating
point and the caller's, and with it; last what stays in floating point. Rewritten for its quantizer, with the same
function: relu6 as hardtanh, which it fuses with a convolution, and a batch norm that no convolution stands before as a
depthwise 1×1 convolution; `--plain` leaves both as they are. `--quick` takes the student alone.
"""

from __future__ import annotations

import argparse
import copy
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import sysconfig
import venv
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from redistill.common.cache import cache_dir
from redistill.deploy.folded import export_folded
from redistill.deploy.judged import counted_bytes
from redistill.deploy.opened import open_network

NAMES = ("emoji-clutter-student", "emoji-clutter-teacher", "imagenette-student", "imagenette-teacher")
VERSION = "1.5.1"
PACKAGES = (f"executorch=={VERSION}", "tosa-tools==2026.5.0", "torchao==0.18.0", "flatbuffers", "ruamel.yaml")
aten = torch.ops.aten


def environment() -> Path:
    """The Python that has ExecuTorch for Cortex-M; its environment is made where there is none.

    Ends the program, in one sentence, where the packages cannot be installed.
    """
    folder = cache_dir() / "tools" / f"cortex-m-{VERSION}"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, clear=True, with_pip=True)
        own = next((folder / "lib").glob("python3*/site-packages"))
        (own / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
        if subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", *PACKAGES]).returncode != 0:
            raise SystemExit(
                f"ExecuTorch {VERSION} could not be installed into {folder}; that needs the network, once."
            )
        (folder / "ready").touch()
    return python


def installed() -> str | None:
    """The version of ExecuTorch that this Python has; None where it has none."""
    try:
        return importlib.metadata.version("executorch")
    except importlib.metadata.PackageNotFoundError:
        return None


def rewritten(graph: fx.GraphModule) -> fx.GraphModule:
    """The same function in operators that the quantizer knows."""
    held = dict(graph.named_parameters()) | dict(graph.named_buffers())
    for i, node in enumerate(list(graph.graph.nodes)):
        if node.target in (aten.relu6.default, aten.relu6_.default):
            node.target, node.args = aten.hardtanh.default, (node.args[0], 0.0, 6.0)
        elif node.target is aten.batch_norm.default:
            weight, bias, mean, var = (held[part.target] for part in node.args[1:5])
            factor = weight / torch.sqrt(var + node.args[7])
            parts = (factor.reshape(-1, 1, 1, 1), bias - mean * factor)
            with graph.graph.inserting_before(node):
                made = []
                for name, value in zip(("weight", "bias"), parts, strict=True):
                    graph.register_parameter(f"norm_{i}_{name}", nn.Parameter(value.detach(), requires_grad=False))
                    made.append(graph.graph.get_attr(f"norm_{i}_{name}"))
            node.target = aten.conv2d.default
            node.args = (node.args[0], *made, [1, 1], [0, 0], [1, 1], len(factor))
    graph.graph.lint()
    graph.recompile()
    return graph


@torch.no_grad()
def planned(name: str, plain: bool) -> dict[str, Any]:
    """ExecuTorch's arena for a shipped network, and the operators that it leaves in floating point."""
    from executorch.backends.cortex_m.edge_compile_config import cortex_m_edge_compile_config
    from executorch.backends.cortex_m.passes.cortex_m_pass_manager import CortexMPassManager
    from executorch.backends.cortex_m.quantizer.quantizer import CortexMQuantizer
    from executorch.backends.cortex_m.target_config import CortexM, CortexMTargetConfig
    from executorch.exir import ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    opened = open_network(name)
    side = opened.metadata.student.image_size
    images = torch.rand(4, 1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    images = [image.to(memory_format=torch.channels_last) for image in images]  # its kernels' layout
    program = export_folded(opened.model.to(memory_format=torch.channels_last), (images[0],))
    graph = program.module(check_guards=False)
    prepared = prepare_pt2e(graph if plain else rewritten(graph), CortexMQuantizer())
    for image in images:
        prepared(image)
    exported = torch.export.export(convert_pt2e(prepared), (images[0],), strict=False)
    edge = to_edge(exported, compile_config=cortex_m_edge_compile_config())
    target = CortexMTargetConfig(cpu=CortexM.M55)
    passes = CortexMPassManager(edge.exported_program(), CortexMPassManager.pass_list, target_config=target)
    edge._edge_programs["forward"] = passes.transform()
    called = (node.target for node in edge.exported_program().graph.nodes if node.op == "call_function")
    names = [target._op.name() for target in called if hasattr(target, "_op")]
    left = Counter(op.removeprefix("aten::") for op in names if op.startswith("aten::") and "view" not in op)
    arenas = {}
    for with_input in (False, True):
        planning = MemoryPlanningPass(alloc_graph_input=with_input)
        made = copy.deepcopy(edge).to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
        arenas[with_input] = sum(made.executorch_program.execution_plan[0].non_const_buffer_sizes)
    return {
        "network": name,
        "ours": counted_bytes(opened, "C"),
        "arena": arenas[False],
        "arena_with_input": arenas[True],
        "float": dict(left),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if installed() != VERSION:
        command = [environment(), "-m", "benchmarks.cortex_m", *sys.argv[1:]]
        raise SystemExit(subprocess.run(command, env=os.environ | {"TRANSFORMERS_VERBOSITY": "error"}).returncode)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    print(
        "| network | C file | ExecuTorch for Cortex-M | its input included | in floating point |\n" + "| --- " * 5 + "|"
    )
    rows = []
    for name in NAMES[:1] if options.quick else NAMES:
        row = planned(name, options.plain)
        rows.append(row)
        left = ", ".join(f"{count} {op}" for op, count in row["float"].items()) or "nothing"
        figures = f"{row['ours']:,} | {row['arena']:,} | {row['arena_with_input']:,}"
        print(f"| {name} | {figures} | {left} |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    most = max(row["arena"] / row["ours"] for row in rows)
    print(f"cortex_m networks={len(rows)} executorch_over_ours={most:.2f}")


if __name__ == "__main__":
    main()
