"""Model-based search: each proposal goes where a model of the results expects the most."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from statistics import fmean
from typing import Any

from mnist_sweep.config import HPConfig, in_order
from mnist_sweep.search.protocol import Asked, Part, check_found
from mnist_sweep.search.random import random_points
from mnist_sweep.search.space import Domain, Interval, Point, Sieve, Space
from mnist_sweep.trial import Trial, TrialResult

#: Configurations drawn at random before the first model, beside two for each hyperparameter.
_DRAWN = 4
#: More candidates than this are not looked through for a proposal, but as many drawn at random.
_MOST_CANDIDATES = 4096


def bayes_search(space: Space, count: int, batch: int, sampling_seed: int) -> BayesSearch:
    """``count`` configurations of the space's only grid, ``batch`` at a time.

    Raises SearchError if there are none.
    """
    sieve = Sieve(space)
    (grid,), (start,) = space.grids, space.starts
    drawn = ({**start, **point} for point in random_points(grid, sampling_seed))
    points = [point for point in map(sieve.admit, islice(drawn, _MOST_CANDIDATES)) if point]
    notes = sieve.normalisations()
    check_found(points, count, notes)
    first = max(batch, _DRAWN + 2 * len(grid))
    if count <= min(first, len(points) - 1):
        notes.append(f"count: all {count} are drawn at random; a model chooses none of so few")
    return BayesSearch(space, min(count, len(points)), first, batch, sampling_seed, points, notes)


@dataclass(frozen=True)
class BayesSearch:
    """Proposes ``count`` of the ``candidates``, which are in random order.

    The ``first`` are those that come first; each later ``batch`` has the largest expected
    improvement of log error (or loss) under a Gaussian process of all that was measured before it,
    where each next one of the batch takes the process's mean for the value of those before it
    (Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization", 2010).
    What a batch is depends on the rows of the earlier ones alone, however many workers there are.
    """

    space: Space
    count: int
    first: int
    batch: int
    seed: int
    candidates: Sequence[Point]
    warnings: Sequence[str] = ()
    _chosen: dict[tuple[float, ...], list[int]] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> Sequence[Part]:
        """One, of trials that cost what as many drawn at random do."""
        seeds = self.space.seeds
        variants = [self._trial(i, seeds[0]) for i in range(self.count)]
        return [Part("", self.count * len(seeds), self.count, seeds, variants)]

    def asked(self, rows: Mapping[str, TrialResult]) -> Sequence[Asked]:
        """The trials of the batches that are complete, and of the first that is not."""
        chosen: list[int] = []
        errors: list[float] = []
        trials: list[Trial] = []
        while len(chosen) < self.count:
            batch = self._next(chosen, errors)
            groups = [[self._trial(i, seed) for seed in self.space.seeds] for i in batch]
            trials += (trial for group in groups for trial in group)
            if any(trial.trial_id not in rows for group in groups for trial in group):
                break
            chosen += batch
            errors += (self._error([rows[t.trial_id] for t in group]) for group in groups)
        return [Asked("", trials)]

    def _trial(self, i: int, seed: int) -> Trial:
        config = HPConfig(**self.candidates[i], model=self.space.model, seed=seed)
        return Trial(config, self.space.dataset)

    def _error(self, results: Sequence[TrialResult]) -> float:
        """The mean log error of a configuration's seeds; inf if none has one or any diverged."""
        values = [v for r in results if (v := getattr(r, self.space.metric.name)) is not None]
        if not values or any(r.status == "diverged" for r in results):
            return math.inf
        return fmean(math.log(max(self.space.metric.error(value), 1e-5)) for value in values)

    def _next(self, chosen: Sequence[int], errors: Sequence[float]) -> list[int]:
        if not chosen:
            return list(range(min(self.first, self.count)))
        key = tuple(errors)
        if key not in self._chosen:
            self._chosen[key] = self._improving(chosen, errors)
        return self._chosen[key]

    def _improving(self, chosen: Sequence[int], errors: Sequence[float]) -> list[int]:
        import numpy as np

        from mnist_sweep.search.gaussian import Process, fit

        taken = set(chosen)
        left = [i for i in range(len(self.candidates)) if i not in taken]
        finite = [error for error in errors if math.isfinite(error)]
        if not finite:
            return left[:1]
        # What diverged is as bad as the worst that did not: nothing is known of how bad.
        values = np.array([error if math.isfinite(error) else max(finite) for error in errors])
        values = (values - values.mean()) / (values.std() or 1.0)
        places = self._places
        process = fit(places[list(chosen)], values, self.seed)
        batch: list[int] = []
        for _ in range(min(self.batch, self.count - len(chosen))):
            gain, means = process.improvement(places[left])
            # Rounded, so that another machine's last digits do not decide.
            at = int(np.round(gain / max(float(gain.max()), 1e-300), 6).argmax())
            batch.append(left.pop(at))
            process = Process(
                np.vstack([process.points, places[batch[-1]]]),
                np.append(process.values, means[at]),
                process.logs,
            )
        return batch

    @cached_property
    def _places(self) -> Any:
        """The candidates in the unit cube: (candidates, dimensions)."""
        import numpy as np

        columns = [
            column
            for name, domain in self.space.grids[0].items()
            for column in _columns([point[name] for point in self.candidates], domain)
        ]
        return np.stack(columns, axis=1)


def _columns(values: Sequence[Any], domain: Domain) -> list[list[float]]:
    """Where ``values`` stand: by rank in a list, by share of a range, names each by themselves."""
    if isinstance(domain, Interval):
        return [[domain.fraction(value) for value in values]]
    if all(isinstance(value, str) for value in domain):
        return [[float(value == name) / 2 for value in values] for name in dict.fromkeys(domain)]
    if isinstance(domain, range):
        return [[(value - domain[0]) / max(len(domain) - 1, 1) for value in values]]
    # A value that does not apply has become the default, which need not be in the list.
    ordered = sorted({*domain, *values}, key=in_order)
    return [[ordered.index(value) / max(len(ordered) - 1, 1) for value in values]]
