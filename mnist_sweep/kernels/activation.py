"""Activation functions and their derivatives, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad import Tensor, UOp, dtypes
from tinygrad.mixin.gradient import compute_gradient

from mnist_sweep.config import ACTIVATIONS
from mnist_sweep.kernels import csource
from mnist_sweep.kernels.control import kernel_sink
from mnist_sweep.kernels.sizes import Gradients, sized_kernel

#: The arithmetic of tinygrad's ``silu`` and of its slope, to the bit, without the cases that its
#: exponential has for NaN and infinity: bounds come to the same. That, and four vectors at a time,
#: takes a quarter off its time.
_SILU = """
#pragma clang fp contract(on)
#define EACH_ELEMENT _Pragma("clang loop interleave_count(4)") for (long i = 0; i < SIZE; i++)
// 1 + exp(-x): 2 to the power of a whole number, in two factors, times a polynomial of the rest.
INLINE float denominator(float x) {
  float power = x * -1.4426950216293335f;
  power = power < 129.0f ? power : 129.0f;  // from 128 on infinity
  power = power > -151.0f ? power : -151.0f;  // below -150 zero
  const int whole = (int)(power + (power < 0 ? -0.5f : 0.5f)), half = whole >> 1;
  const float rest = power - (float)whole;
  const float factor =
      (((((0.00015359208919107914f * rest + 0.0013392627006396651f) * rest
          + 0.009618384763598442f) * rest + 0.055503472685813904f) * rest
        + 0.24022644758224487f) * rest + 0.6931471824645996f) * rest + 1.0f;
  const float exponential = factor * __builtin_bit_cast(float, (half + 127) << 23)
                            * __builtin_bit_cast(float, (whole - half + 127) << 23);
  return 1.0f + exponential;
}
"""
_SILU_FORWARD = """
void KERNEL(float *restrict Y, const float *restrict X) {
  EACH_ELEMENT Y[i] = X[i] / denominator(X[i]);
}
"""
_SILU_SLOPE = """
void KERNEL(float *restrict D, const float *restrict G, const float *restrict X) {
  EACH_ELEMENT {
    const float all = denominator(X[i]), sigmoid = 1.0f / all;
    D[i] = G[i] * (sigmoid + (X[i] / all) * (1.0f - sigmoid));
  }
}
"""

#: C for an activation and for the product of a gradient and its slope, where it is worth having.
_SOURCES = {"silu": (_SILU + _SILU_FORWARD, _SILU + _SILU_SLOPE)}


def activate(x: Tensor, name: str) -> Tensor:
    """The activation ``name`` of each element of ``x``, a kernel of its own with its derivative.

    Fused into the matrix product that reads it, an activation would be computed again for each
    output column.
    """

    def apply(slope: bool, *inputs: Tensor, gradients: Gradients | None = None) -> Tensor:
        out, size, label = csource.empty(*x.shape, like=x), x.numel(), f"{'d' * slope}{name}"
        if name in _SOURCES and csource.supported(x.device):
            source, sizes = _SOURCES[name][slope], {"SIZE": size}
            return csource.kernel(label, source, [out], inputs, sizes, {}, gradients)[0]

        def kernel(sizes: Sequence[Any], out: UOp, *inputs: UOp) -> UOp:
            i = UOp.range(sizes[0], 0)
            value = inputs[-1][i]
            result = ACTIVATIONS[name](value)
            if slope:
                one = UOp.const(1.0, dtypes.float)
                result = inputs[0][i] * compute_gradient(result, one, {value})[value]
            return kernel_sink(label, out[i].store(result), over=(i,))

        return sized_kernel(kernel, out, *inputs, sizes=[size], gradients=gradients)[0]

    def gradient(upstream: UOp, call: UOp) -> tuple[UOp | None, ...]:
        return None, apply(True, Tensor(upstream).contiguous(), Tensor(call.src[2])).uop

    return apply(False, x, gradients=gradient)
