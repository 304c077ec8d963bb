"""Every operator of torch, on tensors that lie in memory in six ways: is the figure exact, refused, or wrong?

    python -m benchmarks.operators [--quick]

Torch tests itself with a list of its operators and sample arguments for each. Every floating-point sample runs in a
network that makes its tensor, lets the operator have it, and flattens and multiplies what that gives, which shows how
the results lie. Its eager figure is held against the allocator's. Left out are an operator that only torch's own
compiler calls, and views that look past their tensor. `--quick` takes one sample of every 24th operator.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from redistill.memory import capture, measure_peak

LAYOUTS = {
    "as its shape says": lambda x: x,
    "channels last": lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1) if x.dim() > 2 else x,
    "last sides turned": lambda x: x.mT.contiguous().mT if x.dim() > 1 else x,
    "first sides turned": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1) if x.dim() > 1 else x,
    "a part of a larger one": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "one number repeated": lambda x: x[..., :1].expand_as(x),
}
LEFT_OUT = ("_unsafe_masked_index_put_accumulate",)
SAMPLES = 8  # of each operator
QUICK = (24, 1)  # of every 24th operator one sample


class Network(nn.Module):
    """An operator on a tensor that is made for it."""

    def __init__(self, operator: Any, layout: str, sample: Any) -> None:
        super().__init__()
        self.operator, self.layout = operator, LAYOUTS[layout]
        self.args, self.kwargs = sample.args, sample.kwargs
        self.own = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Any:
        y = self.layout(x * 1.5)
        shown = []
        for made in tree_leaves(self.operator(y, *self.args, **self.kwargs)):
            if isinstance(made, Tensor):
                line = made.flatten()
                shown += [made, line, line.clone()]
        return y, shown


def networks(every: int = 1, samples: int = SAMPLES) -> Iterator[tuple[str, nn.Module, Tensor]]:
    """So many samples of every `every`-th operator: its name with the layout, a network with it, and its input.

    Torch's list forbids this process to set its global flags from then on, as training does.
    """
    from torch.testing._internal.common_methods_invocations import op_db

    for operator in op_db[::every]:
        if operator.name in LEFT_OUT or operator.variant_test_name == "partial_views":
            continue
        for sample in _samples(operator, samples):
            for layout in LAYOUTS:
                network, x = Network(operator.op, layout, sample), sample.input.detach().clone()
                if _runs(network, x):
                    yield f"{operator.name}, {layout}", network, x


def _samples(operator: Any, count: int) -> list[Any]:
    try:
        samples = list(operator.sample_inputs("cpu", torch.float32, requires_grad=False))
    except Exception:  # of operators that have none of this dtype
        return []
    return [sample for sample in samples[:count] if _is_dense(sample.input)]


def _is_dense(given: Any) -> bool:
    is_plain = isinstance(given, Tensor) and given.layout is torch.strided and not given.is_nested
    return is_plain and given.dim() > 0 and given.numel() > 0 and given.dtype is torch.float32


def _runs(network: nn.Module, x: Tensor) -> bool:
    try:
        with torch.no_grad():
            network(x)
    except Exception:  # an operator need not take every layout
        return False
    return True


def answer(network: nn.Module, x: Tensor) -> str:
    """How the figure of a network compares with the allocator's."""
    try:
        found = capture(network, x).profile(accounting="eager").peak_bytes
    except ValueError:
        return "refused"
    return "exact" if found == measure_peak(network, x) else "wrong"


def main() -> None:
    """Print what was wrong, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one sample of every 24th operator; ends within 20 s")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    operators = set()
    for name, network, x in networks(*QUICK if options.quick else ()):
        found = answer(network, x)
        counts[found] += 1
        operators.add(name.split(",")[0])
        if found == "wrong":
            print(f"wrong: {name}, {tuple(x.shape)}")
    told = " ".join(f"{kind}={counts[kind]}" for kind in ("exact", "refused", "wrong"))
    print(f"operators operators={len(operators)} {told}")


if __name__ == "__main__":
    main()
