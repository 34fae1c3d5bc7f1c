"""The batch of a step: rows of the data set, standardised and, where asked for, distorted."""

from __future__ import annotations

from tinygrad import Tensor, UOp, dtypes

from mnist_sweep.kernels.control import Control, Count, kernel_sink
from mnist_sweep.models import SIDE

#: The point that an image is turned and scaled about.
_CENTRE = (SIDE - 1) / 2


def batch_row(rows: UOp, counts: UOp, k: UOp, i: UOp, size: int) -> UOp:
    """The row of the data set that image ``i`` of the batch of trial ``k`` is in, in a kernel."""
    return rows[k, counts[k, Count.POSITION].load() * size + i].load()


def gather_batch(images: Tensor, control: Control, size: int, mean: float, std: float) -> Tensor:
    """The pixels of the batch at the control's position: (trials, size, 784) float32.

    ``images`` (n, 784) are uint8; pixels become ``(value / 255 - mean) / std``. The number of
    trials is that of ``control.rows``. Where the control has ``warps``, pixel (r, c) is taken from
    the image at the row and column ``c0 + A (r - c0, c - c0) + t``, between its four neighbours
    (bilinear, 0 outside); A (2, 2) and t (2,) are the six numbers of the image, c0 is its centre.
    """
    scale, shift = 1 / (255 * std), -mean / std
    trials = control.rows.shape[0]

    def kernel(out: UOp, images: UOp, rows: UOp, counts: UOp, *warps: UOp) -> UOp:
        k, i, j = UOp.range(trials, 0), UOp.range(size, 1), UOp.range(out.shape[2], 2)
        row = batch_row(rows, counts, k, i, size)
        if warps:
            at = counts[k, Count.POSITION].load() * size + i
            value = _warped(images, row, j, [warps[0][k, at, n].load() for n in range(6)])
        else:
            value = images[row, j].cast(dtypes.float)
        store = out[k, i, j].store(value * scale + shift)
        return kernel_sink(f"gather_{size}", store, over=(k, i, j))

    warps = [] if control.warps is None else [control.warps]
    x = Tensor.empty(trials, size, images.shape[1], device=images.device)
    return x.custom_kernel(images, control.rows, control.counts, *warps, fxn=kernel)[0]


def _warped(images: UOp, row: UOp, pixel: UOp, warp: list[UOp]) -> UOp:
    """The value of the distorted image ``row`` at ``pixel``, 0 .. 255 as float32."""
    r = (pixel // SIDE).cast(dtypes.float) - _CENTRE
    c = (pixel % SIDE).cast(dtypes.float) - _CENTRE
    # Far outside, every neighbour is outside; casting needs numbers that an int can hold.
    y, x = (
        (warp[2 * n] * r + warp[2 * n + 1] * c + warp[4 + n] + _CENTRE)
        .maximum(-2.0)
        .minimum(SIDE + 1.0)
        for n in range(2)
    )
    # Casting cuts off the fraction: for numbers above 0 that is rounding down.
    top, left = ((v + 2.0).cast(dtypes.int) - 2 for v in (y, x))
    down, right = y - top.cast(dtypes.float), x - left.cast(dtypes.float)

    def value(dy: int, dx: int) -> UOp:
        at, inside = UOp.const(0, dtypes.int), UOp.const(True, dtypes.bool)
        for base, offset, stride in ((top, dy, SIDE), (left, dx, 1)):
            index = base + offset
            inside = inside & (index < SIDE) & (index < 0).logical_not()
            at = at + index.maximum(0).minimum(SIDE - 1) * stride
        return inside.where(images[row, at].cast(dtypes.float), 0.0)

    upper = value(0, 0) * (1 - right) + value(0, 1) * right
    lower = value(1, 0) * (1 - right) + value(1, 1) * right
    return upper * (1 - down) + lower * down
