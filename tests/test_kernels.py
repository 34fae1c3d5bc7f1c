"""The C kernels compute what plain Tensor operations and float64 numpy compute."""

import subprocess
import warnings
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinygrad import Tensor

from mnist_sweep.kernels import bfloat16, cook_toom, csource
from mnist_sweep.kernels import convolution as convolution_module
from mnist_sweep.kernels.convolution import convolution
from mnist_sweep.kernels.fast_convolution import tile_size
from mnist_sweep.kernels.matmul import linear
from mnist_sweep.kernels.normalisation import batch_norm, max_pool
from tests import reference

# (rows, inputs, outputs): the study's layers, and ones that fit no tile.
LINEAR_SHAPES = [
    (128, 784, 512),
    (64, 512, 512),
    (32, 128, 10),
    (1, 7, 10),
    (3, 5, 1),
    (13, 2100, 33),
]
# (images, size, filter, channels in, channels out) -> results along a tile, None: direct
CONVOLUTION_SHAPES = {
    (2, 28, 5, 1, 32): None,  # the CNN's layers
    (2, 24, 5, 32, 32): 4,
    (9, 10, 3, 32, 64): 4,
    (9, 8, 3, 64, 64): 3,
    (1, 24, 5, 32, 32): 4,  # batches that are no multiple of the images worked through at a time
    (7, 10, 3, 32, 64): 4,
    (7, 8, 3, 64, 64): 3,
    (3, 15, 4, 16, 80): 4,  # the other tiles and taps, and channels that fill no register tile
    (2, 16, 5, 48, 16): 4,
    (4, 13, 5, 16, 16): 3,
    (1, 14, 5, 16, 16): 2,
    (1, 12, 3, 16, 16): 2,
    (2, 12, 4, 32, 16): 3,
    (1, 8, 3, 64, 64): None,  # too few tiles
    (32, 6, 3, 16, 16): None,
    (1, 19, 5, 16, 16): 3,
    (2, 13, 3, 16, 16): None,  # eleven pixels
    (1, 7, 3, 3, 5): None,
    (2, 9, 2, 20, 18): None,
    (2, 13, 6, 16, 16): None,
}


def _arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape).astype(np.float32) for shape in shapes]


def _close(actual: Any, expected: np.ndarray) -> None:
    value = actual.numpy() if isinstance(actual, Tensor) else actual
    np.testing.assert_allclose(value, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.fixture(params=["c", "plain"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with the C kernels, and again with their plain twins."""
    if request.param == "plain":
        monkeypatch.setattr(csource, "supported", lambda _: False)
    else:
        assert csource.supported("CPU")
    return str(request.param)


@pytest.mark.parametrize("shape", LINEAR_SHAPES)
@pytest.mark.usefixtures("implementation")
def test_linear_and_its_gradients_equal_numpy(shape: tuple[int, int, int]) -> None:
    rows, inputs, outputs = shape
    arrays = _arrays((rows, inputs), (inputs, outputs), (outputs,), (rows, outputs))
    x, w, b, g = (Tensor(array).realize() for array in arrays)
    xn, wn, bn, gn = (array.astype(np.float64) for array in arrays)
    y = linear(x, w, b)
    dx, dw, db = (y * g).sum().gradient(x, w, b)
    _close(y, xn @ wn + bn)
    _close(dx, gn @ wn.T)
    _close(dw, xn.T @ gn)
    _close(db, gn.sum(0))


def _as_bfloat16(x: np.ndarray) -> np.ndarray:
    """The nearest numbers of 8 significant bits, ties to even; below 2^-126 there are none."""
    fraction, exponent = np.frexp(x.astype(np.float64))
    nearest = np.ldexp(np.round(fraction * 256), exponent - 8)
    return np.where(np.abs(x) < 2.0**-126, 0, nearest)


def _rounded_linear(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The result of ``rounded_linear`` and its gradients in its arguments."""
    x, w, b, g = (Tensor(array).realize() for array in arrays)
    y = bfloat16.rounded_linear(x, w, b)
    return [tensor.numpy() for tensor in (y, *(y * g).sum().gradient(x, w, b))]


@pytest.mark.parametrize("shape", LINEAR_SHAPES[2:])
@pytest.mark.usefixtures("implementation")
def test_rounded_linear_and_its_gradients_equal_numpy(shape: tuple[int, int, int]) -> None:
    rows, inputs, outputs = shape
    arrays = _arrays((rows, inputs), (inputs, outputs), (outputs,), (rows, outputs))
    arrays[0].flat[:7] = (1 + 2.0**-8, 1 + 3 * 2.0**-8, 1e-39, -3e-38, -0.0, 2.0**-126, 255.5)
    x, w, g = (_as_bfloat16(array) for array in (arrays[0], arrays[1], arrays[3]))
    b, unrounded = arrays[2].astype(np.float64), arrays[3].astype(np.float64)
    expected = x @ w + b, g @ w.T, x.T @ g, unrounded.sum(0)
    for actual, value in zip(_rounded_linear(arrays), expected, strict=True):
        _close(actual, value)


@pytest.mark.usefixtures("implementation")
def test_numbers_that_are_none_stay_so_in_bfloat16() -> None:
    """Whatever their bits: rounded as if they were numbers, some would be 0 or infinite."""
    bits = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFFC00000], np.uint32)
    x, one = bits.view(np.float32).reshape(4, 1), np.ones((1, 1), np.float32)
    y, *_ = _rounded_linear([x, one, one[0], x])
    assert np.isnan(y).all()
    infinite = np.full((4, 1), np.inf, np.float32)
    assert np.isposinf(_rounded_linear([infinite, one, one[0], x])[0]).all()


_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


@pytest.mark.skipif("avx512_bf16" not in _FLAGS, reason="needs a processor with AVX512-BF16")
@pytest.mark.parametrize("scale", [1.0, 1e-19])
def test_without_the_instruction_products_of_bfloat16_are_the_same_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, scale: float
) -> None:
    """Also where products and sums are too small for float32."""
    arrays = _arrays((13, 2100), (2100, 33), (33,), (13, 33))
    spread = [array**5 * np.float32(scale) for array in arrays]
    spread[0][:, 0], spread[1][0] = 1e-39, 1e38
    by_instruction = _rounded_linear(spread)
    in_software = bfloat16.DOT.replace("#ifdef __AVX512BF16__", "#if 0")
    assert in_software != bfloat16.DOT
    monkeypatch.setattr(bfloat16, "DOT", in_software)
    for one, other in zip(by_instruction, _rounded_linear(spread), strict=True):
        np.testing.assert_array_equal(one, other)


def _convolution_case(shape: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Arguments of a convolution and a gradient of its result; in float64 what comes of them."""
    n, size, taps, inputs, outputs = shape
    out = size - taps + 1
    arrays = _arrays(
        (n, size, size, inputs), (taps, taps, inputs, outputs), (outputs,), (n, out, out, outputs)
    )
    x, w, b, g = (array.astype(np.float64) for array in arrays)
    windows = np.lib.stride_tricks.sliding_window_view(x, (taps, taps), axis=(1, 2))
    edge = taps - 1
    padded = np.pad(g, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)
    return arrays, [
        reference.convolution(x, w, b),
        reference.convolution(padded, turned, np.zeros(inputs)),
        np.einsum("nyxckl,nyxo->klco", windows, g, optimize=True),
        g.sum((0, 1, 2)),
    ]


def _convolved(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The result of ``convolution`` and its gradients in the images, filters and bias."""
    x, w, b, g = (Tensor(array).realize() for array in arrays)
    y = convolution(x, w, b)
    return [tensor.numpy() for tensor in (y, *(y * g).sum().gradient(x, w, b))]


@pytest.mark.parametrize("shape", CONVOLUTION_SHAPES)
def test_convolution_and_its_gradients_equal_numpy(shape: tuple[int, ...]) -> None:
    arrays, expected = _convolution_case(shape)
    for actual, value in zip(_convolved(arrays), expected, strict=True):
        _close(actual, value)


@pytest.mark.parametrize("shape", [(2, 24, 5, 32, 32), (9, 8, 3, 64, 64), (2, 9, 2, 20, 18)])
@pytest.mark.parametrize("twin", ["direct", "plain"])
def test_the_twins_of_fast_convolution_equal_numpy(
    shape: tuple[int, ...], twin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convolution_module, "tile_size", lambda *_: None)
    monkeypatch.setattr(csource, "supported", lambda _: twin == "direct")
    arrays, expected = _convolution_case(shape)
    for actual, value in zip(_convolved(arrays), expected, strict=True):
        _close(actual, value)


@pytest.mark.parametrize(("shape", "tile"), CONVOLUTION_SHAPES.items())
def test_tiles_are_as_large_as_the_image_has_room_for(
    shape: tuple[int, ...], tile: int | None
) -> None:
    n, size, taps, inputs, outputs = shape
    assert tile_size((n, size, size, inputs), (taps, taps, inputs, outputs)) == tile


@pytest.mark.parametrize("taps", [3, 4, 5])
@pytest.mark.parametrize("results", [2, 3, 4])
def test_cook_tooms_matrices_correlate_exactly(results: int, taps: int) -> None:
    """For each datum and tap alone, hence for all: it is linear in both."""
    data, weights, result = cook_toom.maps(results, taps)
    assert all(len(row) == results + taps - 1 for row in (*data, *result))
    for datum, tap in product(range(results + taps - 1), range(taps)):
        products = [d[datum] * w[tap] for d, w in zip(data, weights, strict=True)]
        values = [sum(map(Fraction.__mul__, row, products), Fraction(0)) for row in result]
        assert values == [datum == i + tap for i in range(results)]


@pytest.mark.parametrize("shape", [(16, 24, 5, 32, 32), (16, 10, 3, 32, 64), (16, 8, 3, 64, 64)])
def test_fast_convolution_rounds_little_more_than_direct(shape: tuple[int, ...]) -> None:
    arrays, expected = _convolution_case(shape)
    for actual, value in zip(_convolved(arrays), expected, strict=True):
        error = np.sqrt(np.mean((actual - value) ** 2) / np.mean(value**2))
        assert error < 1e-5  # products of operands in TF32 err by 3e-4, in bfloat16 by 2e-3


@pytest.mark.parametrize("shape", [(2, 24, 5, 32, 32), (7, 8, 3, 64, 64)])
def test_convolution_gives_the_same_bits_with_vectors_of_any_width(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays, _ = _convolution_case(shape)
    widest = _convolved(arrays)
    for narrower in ("#undef __AVX512F__\n", "#undef __AVX__\n"):
        monkeypatch.setattr(csource, "PREAMBLE", narrower + csource.PREAMBLE)
        for one, other in zip(_convolved(arrays), widest, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(2, 20, 20, 32), (3, 6, 6, 64), (1, 4, 4, 5), (7, 10, 10, 19)])
@pytest.mark.usefixtures("implementation")
def test_batch_norm_and_its_gradients_equal_numpy(shape: tuple[int, ...]) -> None:
    arrays = _arrays(shape, shape[-1:], shape[-1:], shape)
    arrays[0] += 3  # a mean far from 0 shows sums that lose digits
    x, w, b, g = (Tensor(array).realize() for array in arrays)
    xn, wn, bn, gn = (array.astype(np.float64) for array in arrays)
    out, mean, variance = batch_norm(x, w, b, 1e-5)
    dx, dw, db = (out * g).sum().gradient(x, w, b)
    axes, count = (0, 1, 2), xn.size // shape[-1]
    root = np.sqrt(xn.var(axes) + 1e-5)
    normed = (xn - xn.mean(axes)) / root
    _close(mean, xn.mean(axes))
    _close(variance, xn.var(axes))
    _close(out, normed * wn + bn)
    _close(dw, (gn * normed).sum(axes))
    _close(db, gn.sum(axes))
    inner = gn - gn.sum(axes) / count - normed * (gn * normed).sum(axes) / count
    _close(dx, wn / root * inner)


@pytest.mark.parametrize("shape", [(2, 20, 20, 32), (3, 6, 6, 64), (1, 4, 4, 5)])
@pytest.mark.usefixtures("implementation")
def test_max_pool_and_its_gradient_equal_numpy_and_equal_maxima_share(
    shape: tuple[int, ...],
) -> None:
    n, size, _, channels = shape
    x, g = _arrays(shape, (n, size // 2, size // 2, channels))
    x = np.round(x)  # many ties
    tensor = Tensor(x).realize()
    out = max_pool(tensor)
    (dx,) = (out * Tensor(g)).sum().gradient(tensor)
    windows = x.reshape(n, size // 2, 2, size // 2, 2, channels)
    top = windows.max((2, 4), keepdims=True)
    share = (windows == top) / (windows == top).sum((2, 4), keepdims=True)
    _close(out, top[:, :, 0, :, 0])
    _close(dx, (share * g[:, :, None, :, None]).reshape(shape))


def test_a_compiler_that_cannot_build_the_kernels_gives_one_warning_and_the_plain_twin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(csource, "PREAMBLE", "this is not C;")
    csource.supported.cache_clear()
    try:
        with pytest.warns(UserWarning, match="cannot build the fast kernels"):
            assert not csource.supported("CPU")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not csource.supported("CPU")
    finally:
        csource.supported.cache_clear()


@pytest.mark.parametrize(
    ("target", "redefined", "instruction", "register"),
    [
        (["-march=x86-64-v4", "-mprefer-vector-width=512"], "", r"vfmadd\w*ps", "zmm"),
        (["-march=x86-64-v3"], "", r"vfmadd\w*ps", "ymm"),
        (["--target=aarch64-none-unknown-elf"], "", "fmla", "v"),
        (["-march=znver4"], bfloat16.DOT, "vdpbf16ps", "zmm"),
    ],
    ids=["avx512", "avx2", "neon", "bf16"],
)
def test_the_matrix_product_uses_the_widest_registers_of_its_target(
    target: list[str], redefined: str, instruction: str, register: str
) -> None:
    import os
    import re

    from mnist_sweep.kernels.matmul import _FORWARD, _PRODUCT

    constants = {"TRANSPOSE_A": 0, "TRANSPOSE_B": 0, "BIAS": 1, "SUMS": 0}
    constants |= {"ROWS_LEFT": 2, "COLUMNS_LEFT": 0}
    source = csource.text("f", redefined + _PRODUCT + _FORWARD, "MNK", constants)
    options = ["-S", "-x", "c", "-O2", "-ffreestanding", "--target=x86_64-none-unknown-elf"]
    command = [os.environ["CC"], *options, *target, "-", "-o", "-"]
    text = subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout
    multiply_adds = re.findall(rf"\n\s*{instruction}\s+([^\n]*)", text)
    wide = [operands for operands in multiply_adds if register in operands]
    # The full tile alone has 24 (of 32 registers) or 12 (of 16) multiply-adds in its inner loop.
    assert len(wide) >= (12 if register == "ymm" else 24)
