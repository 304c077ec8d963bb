"""Memory as onnxruntime's CPU kernels hold it, from the same program: which steps join, their order, what is reused.

What its sessions do (release 1.32, all optimizations, AVX-512), found by its optimized graphs and counted heaps:

- batch norm is folded into the convolution before it, or else is made one by the layout pass; an activation joins the
  convolution before it, only some (`LATE`) one of that pass; a convolution with neither activation nor other readers
  accumulates into the other operand of a sum after it;
- a node runs when its readers need it: depth first from the outputs, the operand whose node was made last comes first,
  and joining and layout passes make convolutions anew;
- activations write in place, convolutions with a sum where they do not read it besides; other sums, products and SiLU
  do not; a buffer that is dead is kept for the next tensor of the same shape, and lives on in between; the input is
  held throughout;
- maps of convolutions lie in blocks of 16 channels, rounded up, also in what is the same shape; what cannot read those
  reads a copy, and so does the caller, but what a convolution accumulates into lies so, whatever it reads; convolutions
  whose groups are no blocks, or whose channels are no multiple of four, neither read nor write them, accumulate
  nothing, and unfold what they read into a workspace; whole blocks alone are put beside one another;
- every tensor and workspace takes a multiple of 64 bytes, but not the input, which is the caller's;
- where several maps are copied for one reader, which is copied first differs from process to process: the figure is
  that of one such order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from ..common.sentences import listed
from .accounting import Timeline
from .onnxruntime_graph import Graph, Kernel, single_assignment
from .onnxruntime_kernels import ACTIVATIONS, BLOCK, BLOCKED, LATE, SAMPLERS, plain_title, unknown_operators
from .program import Program
from .shape_rules import Shape
from .steps import WORKSPACE, Step

COPY = "layout copy"
ROUNDED = 64  # bytes, to whose multiple it rounds up what it allocates


def onnxruntime_order(program: Program, shapes: list[Shape], sizes: list[int]) -> tuple[Program, Timeline]:
    """The program in the order in which onnxruntime runs it, layout copies added, and its memory.

    Raises ValueError for operators whose rules are not known.
    """
    if unknown := unknown_operators(program, shapes):
        raise ValueError(f"No figure for onnxruntime: how it runs {listed(unknown, 3)} is not known; count as 'fused'.")
    graph = single_assignment(program, shapes, sizes)
    nodes = _ordered(_join(graph), graph)
    for place, node in enumerate(nodes):
        if node.activation and node.kind == "conv2d":  # joining makes it anew
            node.index = 10**6 + place
    nodes = _ordered(nodes, graph)
    blocked = _blocked_maps(nodes, graph)
    for place, node in enumerate(nodes):
        if (_is_conv(node) or node.kind in SAMPLERS) and not blocked.isdisjoint(node.births):  # so does the layout pass
            node.index = 2 * 10**6 + place
    nodes = _ordered(_join_sums(nodes, graph, blocked), graph)
    nodes = _ordered(_with_copies(nodes, graph), graph)
    return _planned(program, graph, nodes)


def _is_conv(node: Kernel) -> bool:
    return node.kind in ("conv2d", "batch_norm")


def _join(graph: Graph) -> list[Kernel]:
    uses = _uses(graph)
    maker: dict[int, Kernel] = {}
    nodes: list[Kernel] = []
    for place, step in enumerate(graph.steps):
        title, reads = plain_title(step.title), list(step.reads)
        before = maker.get(reads[0]) if len(reads) == 1 else None
        alone = before is not None and uses[reads[0]] == 1 and _is_conv(before) and not before.activation
        target = None
        if title == "batch_norm" and alone and before.kind == "conv2d":
            target = before
        elif title in (ACTIVATIONS if before and before.kind == "conv2d" else LATE) and alone:
            target, before.activation = before, True
        if target is None:
            if title == "adaptive_avg_pool2d" and graph.shape[step.births[0]][2:] != (1, 1):
                title = "avg_pool2d"  # exported so; to single numbers as a mean
            births = list(step.births)
            is_plain, is_deep = (any(buffer in made for buffer in births) for made in (graph.plain, graph.deep))
            target = Kernel([place], title, reads, births, place, is_plain, is_deep)
            target.workspace = max((graph.plain.get(buffer, 0) for buffer in births), default=0)
            if step.is_red and title == "mul" and len(reads) == 1:  # a gate per channel: exported as a convolution
                target.kind = "conv2d"
            elif step.is_red and title == "add" and _is_ungated(reads, maker):
                target.kind, target.reads, target.into = "conv2d", reads, reads[1]
            nodes.append(target)
        else:
            _append(graph, target, [place], step.births)
        maker |= dict.fromkeys(step.births, target)
    return nodes


def _is_ungated(reads: list[int], maker: dict[int, Kernel]) -> bool:
    """Whether a RED block sums x itself and its residual: exported as a convolution that adds x to the latter."""
    if len(reads) != 2 or reads[0] not in maker or reads[1] not in maker:
        return False
    x, residual = (maker[buffer] for buffer in reads)
    return residual.activation and residual.reads[0] in x.births


def _append(graph: Graph, node: Kernel, steps: list[int], births: Sequence[int]) -> None:
    """Let a node do further steps; what it gave before never is a buffer."""
    node.steps += steps
    graph.joined |= dict.fromkeys(node.births, births[0])
    node.births = list(births)


def _join_sums(nodes: list[Kernel], graph: Graph, blocked: set[int]) -> list[Kernel]:
    """Sums of maps in blocks, and activations after them, joined to the convolutions that can do them."""
    uses = _uses(graph)
    maker: dict[int, Kernel] = {}
    left = []
    for node in nodes:
        target = None
        if node.kind == "add" and len(node.reads) == 2:
            target = _accumulating(graph, node.reads, maker, uses) if blocked.issuperset(node.reads) else None
        elif node.kind in LATE and len(node.reads) == 1:
            before = maker.get(node.reads[0])
            if before is not None and before.into >= 0 and not before.activation and uses[node.reads[0]] == 1:
                target, before.activation = before, True
        if target is None:
            left.append(node)
        else:
            _append(graph, target, node.steps, node.births)
        maker |= dict.fromkeys(node.births, target or node)
    return left


def _uses(graph: Graph) -> list[int]:
    uses = [0] * len(graph.buffers)
    for buffer in (*(buffer for step in graph.steps for buffer in step.reads), *graph.outputs):
        uses[buffer] += 1
    return uses


def _accumulating(graph: Graph, reads: list[int], maker: dict[int, Kernel], uses: list[int]) -> Kernel | None:
    """The convolution that does the sum of two buffers, if one can."""
    if graph.shape[reads[0]] != graph.shape[reads[1]]:
        return None
    for own, other in (reads, reads[::-1]):
        node = maker.get(own)
        can = node is not None and node.kind == "conv2d" and not (node.activation or node.is_plain)
        if can and node.into < 0 and uses[own] == 1 and other in maker:
            node.into = other
            node.reads.append(other)
            return node
    return None


def _ordered(nodes: list[Kernel], graph: Graph) -> list[Kernel]:
    """Depth first from the outputs: of several operands the node that was made last runs first."""
    maker = {buffer: node for node in nodes for buffer in node.births}
    feeds = {id(node): [maker[buffer] for buffer in dict.fromkeys(node.reads) if buffer in maker] for node in nodes}
    fed = {id(source) for sources in feeds.values() for source in sources}
    stack = [(node, False) for node in sorted(nodes, key=lambda node: node.index) if id(node) not in fed]
    seen: set[int] = set()
    order = []
    while stack:
        node, leave = stack.pop()
        if leave:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            sources = sorted(feeds[id(node)], key=lambda source: source.index)
            stack += [(source, False) for source in sources if id(source) not in seen]
    return order


def _given_workspace(node: Kernel, graph: Graph) -> list[Kernel]:
    """What makes room for a node to work in, last before it; nothing where it needs none."""
    if not node.workspace:
        return []
    new = graph.new_buffer(node.births[0])
    graph.sizes[new], graph.shape[new] = node.workspace, (new,)  # nothing else is alike, and takes its place
    step = graph.steps[node.steps[0]]
    graph.steps[node.steps[0]] = step._replace(touched=(*step.touched, new))
    room = Step(WORKSPACE, step.layer, False, False, False, False, (), (), step.result, (), (new,), (new,))
    graph.steps.append(room)
    node.reads.append(new)
    return [Kernel([len(graph.steps) - 1], WORKSPACE, [], [new], -1)]


def _blocked_maps(nodes: list[Kernel], graph: Graph) -> set[int]:
    """The maps that lie in blocks of channels, of nodes in the order in which they run."""
    blocked: set[int] = set()
    for node in nodes:
        blocked |= _gives_blocks(node, graph, _reads_blocks(node, graph, blocked))
    return blocked


def _reads_blocks(node: Kernel, graph: Graph, blocked: set[int]) -> bool:
    """Whether a node reads maps in blocks; but for convolutions, only where those that it reads lie so."""
    if node.kind == "conv2d":
        return (graph.shape[node.reads[0]][1] >= BLOCK or node.is_deep) and not node.is_plain
    if node.kind in (*SAMPLERS, "batch_norm"):
        return node.reads[0] in blocked
    maps = [buffer for buffer in node.reads if len(graph.shape[buffer]) == 4]
    if node.kind not in (*BLOCKED, *LATE) or not maps or not blocked.issuperset(node.reads):
        return False
    if node.kind == "cat":
        return all(graph.shape[buffer][1] % BLOCK == 0 for buffer in node.reads)
    return len({graph.shape[buffer] for buffer in node.reads}) == 1


def _gives_blocks(node: Kernel, graph: Graph, wants: bool) -> set[int]:
    """Its maps that lie in blocks, where it reads (`wants`) such or not."""
    gives = wants or (node.kind == "conv2d" and not node.is_plain)
    return {buffer for buffer in node.births if gives and len(graph.shape[buffer]) == 4}


def _with_copies(nodes: list[Kernel], graph: Graph) -> list[Kernel]:
    """The nodes, and where one reads a map in another layout than it was written in, what copies it."""
    blocked: set[int] = set()
    other: dict[int, int] = {}  # buffer → the one that holds it in the other layout
    result: list[Kernel] = []

    def copied(buffer: int) -> int:
        if buffer not in other:
            new = other[buffer] = graph.new_buffer(buffer)
            if buffer in blocked:
                graph.sizes[new] = graph.sizes[buffer]
            else:
                blocked.add(new)
            step = Step(COPY, "", False, False, False, False, (buffer,), (), graph.buffers[new].value, (), (new,), ())
            graph.steps.append(step._replace(touched=(buffer, new)))
            result.append(Kernel([len(graph.steps) - 1], COPY, [buffer], [new], 3 * 10**6 + len(result)))
            other[new] = buffer
        return other[buffer]

    for node in nodes:
        maps = [buffer for buffer in node.reads if len(graph.shape[buffer]) == 4]
        wants = _reads_blocks(node, graph, blocked)
        node.reads = [  # what a convolution accumulates into lies as what it gives
            copied(buffer) if buffer in maps and (buffer in blocked) != (wants or buffer == node.into) else buffer
            for buffer in node.reads
        ]
        if node.into >= 0:
            node.into = node.reads[-1]
        blocked |= _gives_blocks(node, graph, wants)
        result += _given_workspace(node, graph)
        result.append(node)
    graph.outputs = [copied(buffer) if buffer in blocked else buffer for buffer in graph.outputs]
    for buffer in blocked:
        batch, channels, *sides = graph.shape[buffer]
        wide = -(-channels // BLOCK) * BLOCK
        graph.sizes[buffer] = graph.sizes[buffer] // max(1, channels) * wide
        graph.shape[buffer] = (batch, wide, *sides)  # by which it may take a dead one's place
    return result


def _planned(program: Program, graph: Graph, nodes: list[Kernel]) -> tuple[Program, Timeline]:
    """Which buffer each tensor lies in, and from when to when."""
    for buffer in set(range(len(graph.buffers))).difference(program.inputs):  # those are the caller's
        graph.sizes[buffer] = -(-graph.sizes[buffer] // ROUNDED) * ROUNDED
    order: list[int] = []
    spans = []
    for node in nodes:
        spans.append((len(order), len(order) + len(node.steps) - 1))
        order += node.steps
    end, count = len(order), len(graph.buffers)
    uses = [0] * count
    for buffer in (*(buffer for node in nodes for buffer in dict.fromkeys(node.reads)), *graph.outputs):
        uses[buffer] += 1
    home, first, last = list(range(count)), [-1] * count, [-1] * count
    for buffer in program.inputs:
        first[buffer], last[buffer] = 0, end
    held = {*program.inputs, *graph.outputs}
    free: list[int] = []
    for node, (start, stop) in zip(nodes, spans, strict=True):
        for born in node.births:
            root = _root_for(node, born, graph, home, uses, held, free)
            if root != born:
                home[born] = root
                uses[root] += uses[born]
            else:
                first[born] = start
            last[root] = stop
            if not uses[root]:
                free.insert(0, root)
        for buffer in dict.fromkeys(node.reads):
            root = home[buffer]
            last[root] = max(last[root], stop)
            uses[root] -= 1
            if not uses[root] and root not in held:
                free.insert(0, root)
    for buffer in graph.outputs:
        last[home[buffer]] = end
    for buffer, became in graph.joined.items():
        while became in graph.joined:
            became = graph.joined[became]
        home[buffer] = home[became]
    live = _live(first, last, graph.sizes, end)
    steps = [graph.steps[place] for place in order]
    ran = replace(program, steps=steps, buffers=graph.buffers, outputs=graph.outputs, deaths=[[] for _ in steps])
    return ran, Timeline(live, graph.sizes, home, first, last)


def _live(first: list[int], last: list[int], sizes: list[int], end: int) -> list[int]:
    """Bytes alive at each of `end` steps."""
    change = [0] * (end + 1)
    for start, stop, size in zip(first, last, sizes, strict=True):
        if start >= 0:
            change[start] += size
            change[min(stop, end - 1) + 1] -= size
    return list(accumulate(change[:end]))


def _root_for(
    node: Kernel, born: int, graph: Graph, home: list[int], uses: list[int], held: set[int], free: list[int]
) -> int:
    """The buffer that a result is written into: an operand's, a dead one's of its shape, or its own."""
    if born in held:
        return born
    operand = node.into if node.into >= 0 else node.reads[0] if node.kind in ACTIVATIONS and node.reads else -1
    root = home[operand] if node.reads.count(operand) == 1 else -1  # what it reads too stays until it has been read
    if root >= 0 and root not in held and uses[root] == 1 and _alike(graph, root, born):
        return root
    for place, root in enumerate(free):
        if _alike(graph, root, born):
            return free.pop(place)
    return born


def _alike(graph: Graph, one: int, other: int) -> bool:
    return graph.sizes[one] == graph.sizes[other] and graph.shape[one] == graph.shape[other]
