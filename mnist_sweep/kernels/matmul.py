"""The fully connected layer: y = x w + b with its gradients."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad import Tensor, UOp

from mnist_sweep.kernels import csource
from mnist_sweep.kernels.sizes import Gradients

#: One register-tiled product C = op(A) op(B) with B's columns packed into panels of NR.
#: Packing costs one pass over B and keeps the inner loop free of strides that collide in the
#: cache (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).
#: KC rows of a panel at a time keep it within the cache and the stack. What the last tiles have,
#: M % 6 rows and N % 64 columns, must be constants to stay in registers.
_PRODUCT = """
#define KC 2048
_Static_assert(6 % MR == 0 && 64 % NR == 0, "what is left is counted in these");
// Unrolled, it takes longer to compile and as long to run.
#define FOR_DEPTH _Pragma("clang loop unroll(disable)") for (long k = 0; k < depth; k++)
#define A_AT(i, k) (TRANSPOSE_A ? A[(k) * M + (i)] : A[(i) * K + (k)])

INLINE void pack(float *panel, const float *B, const int *sizes, long j, int cols, long k0,
                 long depth) {
  if (TRANSPOSE_B) {
    int q = 0;
    for (; q + 4 <= cols; q += 4) transpose4(panel + q, B + (j + q) * K + k0, K, depth);
    for (; q < cols || q % VW; q++)
      FOR_DEPTH panel[k * NR + q] = q < cols ? B[(j + q) * K + k0 + k] : 0;
  } else {
    FOR_DEPTH
      EACH_VECTOR *(vec *)(panel + k * NR + v * VW) = load(B + (k0 + k) * N + j + v * VW, REST);
  }
}

INLINE void tile(float *C, const float *A, const float *panel, const float *bias,
                 const int *sizes, const int rows, const int cols, long i, long j, long k0,
                 long depth) {
  vec c[MR][NV];
  EACH_ROW EACH_VECTOR c[r][v] = k0 ? load(C + (i + r) * N + j + v * VW, REST)
                               : BIAS ? load(bias + j + v * VW, REST) : (vec)0;
  FOR_DEPTH ADD_PRODUCT(A_AT(i + r, k0 + k), *(const vec *)(panel + k * NR + v * VW));
  EACH_ROW EACH_VECTOR store(C + (i + r) * N + j + v * VW, c[r][v], REST);
}

INLINE void columns(float *C, float *sums, const float *A, const float *B, const float *bias,
                    const int *sizes, float *panel, long j, const int cols) {
  for (long k0 = 0; k0 < K; k0 += KC) {
    const long depth = K - k0 < KC ? K - k0 : KC;
    pack(panel, B, sizes, j, cols, k0, depth);
    if (SUMS) EACH_VECTOR {
      vec s = k0 ? load(sums + j + v * VW, REST) : (vec)0;
      FOR_DEPTH s += *(const vec *)(panel + k * NR + v * VW);
      store(sums + j + v * VW, s, REST);
    }
    long i;
    EACH_PART(i, M, ROWS_LEFT, MR, rows,
              tile(C, A, panel, bias, sizes, rows, cols, i, j, k0, depth));
  }
}

INLINE void product(float *C, float *sums, const float *A, const float *B, const float *bias,
                    const int *sizes) {
  _Alignas(64) float panel[KC * NR];
  long j;
  EACH_PART(j, N, COLUMNS_LEFT % NR, NR, cols,
            columns(C, sums, A, B, bias, sizes, panel, j, cols));
}
"""

_FORWARD = """
void KERNEL(float *restrict C, const float *restrict A, const float *restrict B,
            const float *restrict bias) {
  product(C, 0, A, B, bias, sizes);
}
"""
_PLAIN = """
void KERNEL(float *restrict C, const float *restrict A, const float *restrict B) {
  product(C, 0, A, B, 0, sizes);
}
"""
_WEIGHT_GRADIENT = """
void KERNEL(float *restrict C, float *restrict sums, const float *restrict A,
            const float *restrict B) {
  product(C, sums, A, B, 0, sizes);
}
"""


def product(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    inner: int,
    flags: tuple[int, int, int, int],
    entry: str = _PLAIN,
    name: str = "matmul",
    redefined: str = "",
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """A product kernel; ``flags`` are TRANSPOSE_A, TRANSPOSE_B, BIAS and SUMS, ``inner`` is K.

    ``redefined`` is C that goes before it.
    """
    rows, columns = outputs[0].shape
    names = ("TRANSPOSE_A", "TRANSPOSE_B", "BIAS", "SUMS", "ROWS_LEFT", "COLUMNS_LEFT")
    constants = dict(zip(names, (*flags, rows % 6, columns % 64), strict=True))
    source, sizes = redefined + _PRODUCT + entry, {"M": rows, "N": columns, "K": inner}
    return csource.kernel(name, source, outputs, inputs, sizes, constants, gradients)


def _gradients(gradient: UOp, call: UOp) -> tuple[UOp | None, ...]:
    x, w, b = (Tensor(source) for source in call.src[2:5])
    g = Tensor(gradient).contiguous()
    dx, dw, db = (csource.empty(*source.shape, like=source) for source in (x, w, b))
    (dx,) = product([dx], [g, w], w.shape[1], (0, 1, 0, 0))
    dw, db = product([dw, db], [x, g], x.shape[0], (1, 0, 0, 1), _WEIGHT_GRADIENT)
    return None, dx.uop, dw.uop, db.uop


def linear(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``x @ w + b`` of float32 ``x`` (rows, inputs), ``w`` (inputs, outputs), ``b`` (outputs,).

    All three may have a leading axis of trials. Differentiable in all three. On a CPU with clang it
    is a C kernel where there is no such axis, elsewhere plain Tensor operations; the two agree to
    rounding.
    """
    if w.ndim > 2 or not csource.supported(x.device):
        return x @ w + b.unsqueeze(-2)
    out = csource.empty(x.shape[0], w.shape[1], like=x)
    flags = (0, 0, 1, 0)
    return product([out], [x, w, b], x.shape[1], flags, _FORWARD, gradients=_gradients)[0]
