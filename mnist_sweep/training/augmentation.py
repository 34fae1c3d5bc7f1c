"""Random distortions of the training images: how far each image of an epoch is moved and turned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mnist_sweep.config import HPConfig


def draw_warps(config: HPConfig, epoch: int, images: int) -> NDArray[np.float32]:
    """The distortion of each image of epoch ``epoch``, (images, 6) float32, as A's rows and t.

    Pixel p of the distorted image shows the original at ``A p + t``, with pixels counted from the
    image's centre. The moves along both axes, the angle and the factor of the size are uniform in
    +-shift pixels, +-rotation degrees and 1 +- scale, and independent of each other.
    """
    draws = np.random.default_rng([config.seed, 2, epoch]).uniform(-1, 1, (images, 4))
    angle = np.deg2rad(config.rotation) * draws[:, 2]
    shrink = 1 / (1 + config.scale * draws[:, 3])
    cos, sin = np.cos(angle) * shrink, np.sin(angle) * shrink
    move = config.shift * draws[:, :2]
    return np.column_stack([cos, -sin, sin, cos, move]).astype(np.float32)
