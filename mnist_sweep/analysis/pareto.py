"""The Pareto front: configurations that none beats in both a metric and a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mnist_sweep.analysis.configurations import Configuration, Cost
from mnist_sweep.metrics import Metric

COSTS: Mapping[Cost, str] = {
    "train_seconds": "training time",
    "parameters": "number of parameters",
}


def pareto_front(
    configurations: Sequence[Configuration], metric: Metric, cost: Cost
) -> list[Configuration]:
    """Those of ``configurations`` that none of the others equals or beats in both, cheapest first.

    ``metric`` and ``cost`` are means over seeds; a configuration without either is not on the
    front, nor is one with a seed that diverged. Of equals the first counts. The front is that of
    the means: two neighbours whose intervals overlap may change places with other seeds.
    """
    known = [
        (price, -metric.sign * mean, place)
        for place, c in enumerate(configurations)
        if not c.diverged
        and (mean := c.mean(metric)) is not None
        and (price := c.cost(cost)) is not None
    ]
    front: list[Configuration] = []
    best = float("inf")
    for _, loss, place in sorted(known):
        if loss < best:
            front.append(configurations[place])
            best = loss
    return front
