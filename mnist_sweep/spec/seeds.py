"""Seeds in a sweep spec."""

from __future__ import annotations

from mnist_sweep.spec.draft import Draft
from mnist_sweep.spec.nodes import Items, Node

MAX_TRIALS = 100_000
MAX_SEED = 2**32 - 1


def read_seeds(draft: Draft, node: Node) -> list[int]:
    """The distinct seeds in their order; a number n stands for 0 to n-1."""
    if not isinstance(node, Items):
        return list(range(node.whole("seeds", 1, MAX_TRIALS)))
    nodes = node.items("seeds")
    seeds = [(draft.attempt(child.whole, "seeds", 0, MAX_SEED), child) for child in nodes]
    return [seed for seed in draft.distinct("seeds", seeds) if seed is not None]
