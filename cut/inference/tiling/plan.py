"""Which feature maps are kept on disk, which are computed again, and in which order statistics are taken.

A norm needs its whole input before the first place of its output is known. So one pass over all tiles computes the
first norm's input and its moments, the next one goes on from there to the second norm's input, and so on. A pass starts
at the picture, or at maps that an earlier pass has kept. Kept is what is small beside the network's largest map and
dear to compute again: in the ResNet generator the maps of the residual blocks, at a quarter of the picture's size. The
wide maps at full size, 34 GB of an 8192x8192 picture, are computed again instead: one or two convolutions each time.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cut.inference.tiling.nodes import Moments, Node, Source

_KEPT_SHARE = 0.25  # of the largest map's elements, at most; the reasons are above


@dataclass
class Pass:
    """One run over all tiles.

    Args:
        target: Map that is computed.
        moments: Those of the target; none for the last pass, whose target is the output.
        computed: in the order of their dependence, the target last or among them.
        read: maps that an earlier pass has kept.
        kept: those of `computed` that go to disk.
        dropped: maps on disk that no later pass reads.
    """

    target: Node
    moments: list[Moments]
    computed: list[Node]
    read: set[Node]
    kept: list[Node]
    dropped: list[Node] = field(default_factory=list)

    @property
    def num_elements(self) -> int:
        """Of the largest map that the pass handles."""
        return max(node.num_elements for node in (*self.computed, *self.read))


def plan_passes(output: Node) -> list[Pass]:
    """The passes that compute `output`, in order."""
    order = dependence_order(output)
    worth_keeping = _worth_keeping(order)
    measured: dict[Node, dict[Moments, None]] = {}
    for node in order:
        for moments in node.moments:
            measured.setdefault(moments.source, {})[moments] = None
    on_disk: set[Node] = set()
    passes = []
    for target, wanted in [*measured.items(), (output, {})]:
        computed, read = _reach(order, target, on_disk)
        kept = [node for node in computed if node in worth_keeping]
        passes.append(Pass(target, list(wanted), computed, read, kept))
        on_disk.update(kept)
    for number, one in enumerate(passes):
        later = set().union(*(other.read for other in passes[number + 1 :]))
        one.kept = [node for node in one.kept if node in later]
        one.dropped = [node for node in one.read if node not in later]
    return passes


def largest_map(output: Node) -> int:
    """The elements of the largest map of all."""
    return max(node.num_elements for node in dependence_order(output))


def disk_bytes(passes: Iterable[Pass]) -> int:
    """What lies on disk at the most."""
    now = most = 0
    for one in passes:
        now += sum(node.num_bytes for node in one.kept)
        most = max(most, now)
        now -= sum(node.num_bytes for node in one.dropped)
    return most


def whole_bytes(output: Node) -> int:
    """Memory that the maps of the whole picture take at once, at the least: what a map is made of, and itself."""
    order = dependence_order(output)
    last_use = {parent: number for number, node in enumerate(order) for parent in node.inputs}
    now = most = 0
    for number, node in enumerate(order):
        now += node.num_bytes
        most = max(most, now)
        now -= sum(parent.num_bytes for parent in set(node.inputs) if last_use[parent] == number)
    return most


def dependence_order(output: Node) -> list[Node]:
    """All nodes that `output` depends on and itself, each behind its inputs; of these as `forward` came to them."""
    order: dict[Node, None] = {}
    waiting = [(output, False)]
    while waiting:
        node, is_ready = waiting.pop()
        if is_ready:
            order[node] = None
        elif node not in order:
            waiting.append((node, True))
            waiting += [(parent, False) for parent in reversed([*node.inputs, *(one.source for one in node.moments)])]
    return list(order)


def _reach(order: list[Node], target: Node, on_disk: Collection[Node]) -> tuple[list[Node], set[Node]]:
    """What has to be computed for `target`, and what is read from disk for it."""
    computed, read, waiting = set(), set(), [target]
    while waiting:
        node = waiting.pop()
        if node in on_disk:
            read.add(node)
        elif node not in computed:
            computed.add(node)
            waiting += node.inputs
    return [node for node in order if node in computed], read


def _worth_keeping(order: list[Node]) -> set[Node]:
    """Norms' inputs, what several nodes read, and what a norm's input that is too large comes from."""
    limit = _KEPT_SHARE * max(node.num_elements for node in order)
    readers = {node: sum(node in other.inputs for other in order) for node in order}
    chosen = {_root(node) for node in order if readers[node] > 1}
    for measured in {moments.source for node in order for moments in node.moments}:
        chosen.add(measured)
        if measured.num_elements > limit:
            chosen.update(map(_root, measured.inputs))
    return {node for node in chosen if node.num_elements <= limit and not isinstance(node, Source)}


def _root(node: Node) -> Node:
    """What `node` is made of without a convolution."""
    while node.is_cheap and len(node.inputs) == 1:
        node = node.inputs[0]
    return node
