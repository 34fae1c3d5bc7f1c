"""The Pareto front: configurations that none beats in both a metric and a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from mnist_sweep.analysis.configurations import Configuration
from mnist_sweep.metrics import Metric
from mnist_sweep.plan import flops
from mnist_sweep.trial import Trial

#: What a configuration costs wherever it runs. Seconds are not among it: what else a machine had to
#: do decides which of two equal networks took less of them.
FrontCost: TypeAlias = Literal["work", "parameters"]
COSTS: Mapping[FrontCost, str] = {"work": "work", "parameters": "number of parameters"}


def cost_of(configuration: Configuration, cost: FrontCost) -> float | None:
    """The floating-point operations of a trial's training, or its parameters; None if unknown."""
    if cost == "parameters":
        return configuration.cost("parameters")
    return flops([Trial(configuration.config, configuration.dataset)])


def pareto_front(
    configurations: Sequence[Configuration], metric: Metric, cost: FrontCost
) -> list[Configuration]:
    """Those of ``configurations`` that none of the others equals or beats in both, cheapest first.

    ``metric`` is a mean over seeds; a configuration without it or without the cost is not on the
    front, nor is one with a seed that diverged. Of equals the first counts. The front is that of
    the means: two neighbours whose intervals overlap may change places with other seeds.
    """
    known = [
        (price, -metric.sign * mean, place)
        for place, c in enumerate(configurations)
        if not c.diverged
        and (mean := c.mean(metric)) is not None
        and (price := cost_of(c, cost)) is not None
    ]
    front: list[Configuration] = []
    best = float("inf")
    for _, loss, place in sorted(known):
        if loss < best:
            front.append(configurations[place])
            best = loss
    return front
