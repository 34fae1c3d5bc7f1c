"""Distortions are what their hyperparameters say, and drawn from the seed."""

import numpy as np
import pytest

from mnist_sweep.config import HPConfig
from mnist_sweep.kernels.batch import gather_batch
from mnist_sweep.kernels.control import COUNTS, REALS, Control
from mnist_sweep.training import backend
from mnist_sweep.training.augmentation import draw_warps
from tests import reference


def _distorted(images: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """The kernel's view of ``images``, each through its own of ``warps``, as values 0 .. 255."""
    count = len(images)
    control = Control(
        rows=backend.to_device(np.arange(count, dtype=np.int32)[None]),
        rates=backend.zeros((1, 1)),
        reals=backend.zeros((1, REALS)),
        counts=backend.to_device(np.zeros((1, COUNTS), np.int32)),
        warps=backend.to_device(warps[None].astype(np.float32)),
    )
    x = gather_batch(backend.to_device(images), control, count, 0.0, 1 / 255)
    pixels: np.ndarray = x.numpy()[0]
    return pixels


def _images(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 784), dtype=np.uint8)


def test_nothing_is_distorted_where_nothing_is_asked_for() -> None:
    warps = draw_warps(HPConfig(), 0, 3)
    assert (warps == np.array([1, 0, 0, 1, 0, 0])).all()
    images = _images(3)
    np.testing.assert_allclose(_distorted(images, warps), images, atol=1e-3)


def test_a_move_by_whole_pixels_moves_and_fills_with_background() -> None:
    images = _images(1)
    moved = _distorted(images, np.array([[1, 0, 0, 1, 2, -3]])).reshape(28, 28)
    image = images.reshape(28, 28)
    np.testing.assert_allclose(moved[:26, 3:], image[2:, :25], atol=1e-3)
    assert not moved[26:].any()
    assert not moved[:, :3].any()


def test_a_quarter_turn_turns_the_image() -> None:
    images = _images(1)
    turned = _distorted(images, np.array([[0, -1, 1, 0, 0, 0]]))
    np.testing.assert_allclose(
        turned.reshape(28, 28), np.rot90(images.reshape(28, 28), -1), atol=1e-3
    )


def test_any_distortion_equals_the_numpy_reference() -> None:
    config = HPConfig(shift=5, rotation=90, scale=0.5, seed=3)
    images, warps = _images(20), draw_warps(config, 1, 20)
    expected = [reference.warped(i, w) for i, w in zip(images, warps, strict=True)]
    np.testing.assert_allclose(_distorted(images, warps), expected, atol=0.05)


def test_a_move_out_of_the_image_leaves_background() -> None:
    warps = np.array([[1, 0, 0, 1, 1e9, 0], [1, 0, 0, 1, 0, -1e9], [1e9, 0, 0, 1e9, 3, 3]])
    assert not _distorted(_images(3), warps).any()


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        ("shift", 3.0, lambda w: np.abs(w[:, 4:])),
        ("rotation", 30.0, lambda w: np.abs(np.rad2deg(np.arctan2(w[:, 2], w[:, 0])))),
        ("scale", 0.25, lambda w: np.abs(1 / w[:, 0] - 1)),
    ],
)
def test_distortions_are_uniform_up_to_their_hyperparameter(
    name: str, value: float, seen: object
) -> None:
    warps = draw_warps(HPConfig(**{name: value}), 0, 20_000).astype(np.float64)  # type: ignore[arg-type]
    sizes = seen(warps)  # type: ignore[operator]
    assert sizes.max() <= value * 1.0001
    assert sizes.mean() == pytest.approx(value / 2, rel=0.02)


def test_distortions_are_drawn_from_the_seed_and_anew_in_each_epoch() -> None:
    config = HPConfig(shift=1)
    one = draw_warps(config, 0, 10)
    assert np.array_equal(one, draw_warps(config, 0, 10))
    assert not np.array_equal(one, draw_warps(config, 1, 10))
    assert not np.array_equal(one, draw_warps(HPConfig(shift=1, seed=1), 0, 10))
