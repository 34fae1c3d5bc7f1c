"""A Gaussian process over a unit cube, and the expected improvement that it promises.

Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), chapters 2 and 5; Jones,
Schonlau and Welch, "Efficient global optimization of expensive black-box functions" (1998). Written
out because it takes these lines, and the libraries that have one weigh more than this package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mnist_sweep.arrays import Floats

#: Standard deviations of the logarithms of inverse length scales and of the noise, before any
#: value is seen; the noise is expected at a hundredth of the variance.
_SCALE_PRIOR, _NOISE_PRIOR, _NOISE = 1.0, 1.5, math.log(1e-2)
_TRIES = 200
_erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Process:
    """What ``fit`` found: of n points in d dimensions, and their values, standardised.

    ``logs`` are the logarithms of the d inverse length scales and of the noise, by the variance.
    """

    points: Floats
    values: Floats
    logs: Floats

    def _solved(self) -> tuple[Floats, float, Floats, float]:
        """Cholesky factor, mean, whitened residuals and variance of the process."""
        covariance = _matern(self.points, self.points, self.logs)
        covariance[np.diag_indices(len(covariance))] += math.exp(self.logs[-1])
        factor: Any = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, np.stack([self.values, np.ones(len(self.values))], axis=1))
        mean = float(white[:, 0] @ white[:, 1] / (white[:, 1] @ white[:, 1]))
        residuals = white[:, 0] - mean * white[:, 1]
        return factor, mean, residuals, max(float(residuals @ residuals) / len(residuals), 1e-12)

    def misfit(self) -> float:
        """Minus the logarithm of the posterior density of ``logs``, up to a constant."""
        factor, _, residuals, variance = self._solved()
        prior = float(self.logs[:-1] @ self.logs[:-1]) / _SCALE_PRIOR**2
        prior += (float(self.logs[-1]) - _NOISE) ** 2 / _NOISE_PRIOR**2
        fit = len(residuals) * math.log(variance) / 2 + float(np.log(np.diag(factor)).sum())
        return fit + prior / 2

    def improvement(self, candidates: Floats) -> tuple[Floats, Floats]:
        """Of each of ``candidates`` (m, d): by how much it is expected to pass the lowest value.

        Also the means that are expected of them. Both of shape (m,).
        """
        factor, mean, residuals, variance = self._solved()
        cross = np.linalg.solve(factor, _matern(self.points, candidates, self.logs))
        means = mean + residuals @ cross
        spread = np.sqrt(variance * np.maximum(1 - (cross * cross).sum(axis=0), 1e-12))
        z = (float(self.values.min()) - means) / spread
        density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return spread * (z * (1 + _erf(z / math.sqrt(2))) / 2 + density), means


def fit(points: Floats, values: Floats, seed: int) -> Process:
    """The process whose length scales and noise suit ``values`` (n,) at ``points`` (n, d) best.

    By a random search that narrows; equal arguments give an equal process.
    """
    generator = np.random.default_rng(seed)
    best = Process(points, values, np.append(np.zeros(points.shape[1]), _NOISE))
    least, reach = best.misfit(), 0.6
    for _ in range(_TRIES):
        moved = generator.random(len(best.logs)) < 0.5
        step = generator.normal(0, reach, len(best.logs)) * moved
        tried = Process(points, values, best.logs + step)
        misfit = tried.misfit()
        if misfit < least:
            best, least, reach = tried, misfit, min(1.3 * reach, 1.2)
        else:
            reach = max(0.97 * reach, 0.05)
    return best


def _matern(a: Floats, b: Floats, logs: Floats) -> Floats:
    """Matern's covariance, smooth twice over, of ``a`` (n, d) with ``b`` (m, d): (n, m)."""
    scales = np.exp(logs[:-1])
    a, b = a * scales, b * scales
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    distance = np.sqrt(5 * np.maximum(squares, 0))
    covariance: Floats = (1 + distance + distance**2 / 3) * np.exp(-distance)
    return covariance
