"""A network as a .pte file of ExecuTorch: one program of its portable operators, memory planned ahead."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.sentences import first_line
from .exporter import causes, quiet
from .folded import export_folded

DESCRIPTION = "description"  # a method of the program that gives what the file says of itself, as JSON


@dataclass(frozen=True)
class Program:
    """A .pte file's content, and the memory that it plans."""

    content: bytes
    arena_bytes: int  # planned for activations, the output included, the input not


def to_executorch(model: nn.Module, inputs: tuple[Tensor, ...], described: Mapping[str, Any] | None = None) -> Program:
    """The network as an ExecuTorch program for inputs of exactly these shapes, whose memory the caller holds.

    Batch norms are folded into the convolutions before them; linear layers stay one operator, whose weights are
    then not transposed into the arena. Raises ValueError, in one sentence, for networks that torch.export cannot
    record and for operators that ExecuTorch lacks, by name. Needs the extra "executorch".
    """
    from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge
    from executorch.exir.passes import MemoryPlanningPass

    try:
        with quiet(), torch.no_grad():
            edge = to_edge(
                export_folded(model, inputs),
                constant_methods={DESCRIPTION: json.dumps(dict(described or {}))},
                compile_config=EdgeCompileConfig(preserve_ops=[torch.ops.aten.linear.default]),
            )
            planning = MemoryPlanningPass(alloc_graph_input=False)
            program = edge.to_executorch(ExecutorchBackendConfig(memory_planning_pass=planning))
            plans = {plan.name: plan for plan in program.executorch_program.execution_plan}
            return Program(program.buffer, sum(plans["forward"].non_const_buffer_sizes))
    except Exception as error:  # whatever torch, the network's own code or ExecuTorch raise
        raise ValueError(_refusal(error)) from error


def _refusal(error: BaseException) -> str:
    """Why there is no export: the operators that ExecuTorch lacks, or the first line of what went wrong at the root."""
    chain = causes(error)
    text = "\n".join(str(each) for each in chain)
    lacking = set(re.findall(r"Operator torch\._ops\.([\w.]+) is not (?:in Core ATen|Aten Canonical)", text))
    lacking |= {
        found for group in re.findall(r"Missing out variants: \{([^}]*)\}", text) for found in group.split(", ")
    }
    if lacking:
        named = ", ".join(sorted(name.strip("'") for name in lacking))
        return f"ExecuTorch has no operator for {named}, which the network uses."
    return f"The network cannot be exported to ExecuTorch: {first_line(chain[-1])[:300].rstrip('.')}."
