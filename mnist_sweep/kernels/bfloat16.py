"""The fully connected layer with products of bfloat16 numbers; all else stays float32."""

from __future__ import annotations

from tinygrad import Tensor, UOp, dtypes

from mnist_sweep.kernels import csource
from mnist_sweep.kernels.matmul import product

#: c + x b for vectors of pairs, as AVX512-BF16's VDPBF16PS adds: the upper halves' product first,
#: each sum rounded to nearest even, and to 0 below 2^-126.
DOT = """
#undef MULTIPLY_ADD
#define MULTIPLY_ADD(c, x, b) c = dot(c, x, b)
#ifdef __AVX512BF16__
typedef __bf16 bf16s __attribute__((vector_size(64)));
INLINE vec dot(vec c, vec x, vec b) {
  return (vec)__builtin_ia32_dpbf16ps_512(c, (bf16s)x, (bf16s)b);
}
#else
typedef unsigned bits __attribute__((ext_vector_type(VW), aligned(4)));
INLINE vec flushed(vec v) {
  return (vec)((bits)v & ~(bits)(__builtin_elementwise_abs(v) < 0x1p-126f));
}
INLINE vec dot(vec c, vec x, vec b) {
  c = flushed((vec)((bits)x & 0xffff0000u) * (vec)((bits)b & 0xffff0000u) + c);
  return flushed((vec)((bits)x << 16) * (vec)((bits)b << 16) + c);
}
#endif
"""


def _rounded(x: Tensor) -> Tensor:
    """``x`` rounded to the nearest bfloat16, ties to even, below 2^-126 to 0: as float32's bits."""
    bits = x.bitcast(dtypes.uint32)
    size = bits & 0x7FFFFFFF
    kept = (size > 0x7F800000).where(0x7FC00000, bits + 0x7FFF + ((bits >> 16) & 1))
    return (size < 0x00800000).where(0, kept) & 0xFFFF0000


def _pairs(x: Tensor, axis: int) -> Tensor:
    """``x`` (m, n) rounded, two neighbours along ``axis`` in each number of 32 bits.

    The first is the lower half; at an odd end there is a 0 above it.
    """
    pads = [(0, x.shape[axis] % 2 if i == axis else 0) for i in range(2)]
    low, high = _rounded(x).pad(pads).unflatten(axis, (-1, 2)).split(1, axis + 1)
    return ((low >> 16) | high).squeeze(axis + 1).contiguous()


def _product(a: Tensor, b: Tensor, turned: tuple[int, int] = (0, 0)) -> Tensor:
    """The product of ``a`` and ``b`` rounded, each transposed where ``turned`` is 1."""
    if a.ndim > 2 or not csource.supported(a.device):
        operands = [_rounded(x).bitcast(dtypes.float) for x in (a, b)]
        left, right = (
            x.transpose(-1, -2) if t else x for x, t in zip(operands, turned, strict=True)
        )
        return left @ right
    left, right = _pairs(a, 1 - turned[0]), _pairs(b, turned[1])
    inner, flags = left.shape[1 - turned[0]], (*turned, 0, 0)
    out = csource.empty(a.shape[turned[0]], b.shape[1 - turned[1]], like=a)
    return product([out], [left, right], inner, flags, name="matmul_bf16", redefined=DOT)[0]


def _column_sums(g: Tensor) -> Tensor:
    """``g.sum(-2)``, in C as a product with ones: a plain loop takes a column at a time."""
    if g.ndim > 2 or not csource.supported(g.device):
        return g.sum(-2)
    ones = Tensor.ones(1, len(g), device=g.device).contiguous()
    out = csource.empty(1, g.shape[1], like=g)
    return product([out], [ones, g], len(g), (0, 0, 0, 0))[0].flatten()


def _gradients(gradient: UOp, call: UOp) -> tuple[UOp | None, ...]:
    x, w, _, _ = (Tensor(source) for source in call.src[1:])
    g = Tensor(gradient).contiguous()
    return _product(g, w, (0, 1)).uop, _product(x, g, (1, 0)).uop, _column_sums(g).uop, None


def rounded_linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``matmul.linear`` whose products, gradients' too, are of operands rounded to bfloat16.

    On a CPU with AVX512-BF16 they take its dot-product instruction; without it, the same numbers
    take several times as long as float32's.
    """
    y = _product(x, w) + b.unsqueeze(-2)
    return x.call(w, b, y, fxn=y.as_param(3), grad_fxn=_gradients)
