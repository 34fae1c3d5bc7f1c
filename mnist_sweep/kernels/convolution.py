"""The convolution layer over images stored as (batch, height, width, channels)."""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad import Tensor, UOp

from mnist_sweep.kernels import csource
from mnist_sweep.kernels.fast_convolution import fast_convolution, tile_size
from mnist_sweep.kernels.sizes import Gradients

#: Direct convolution: in this layout the (column, channel) run of a filter row is contiguous in
#: the image, so the register tile of the matrix product serves, with neighbouring pixels as its
#: rows and output channels as its columns; nothing is unfolded into a matrix.
_COMMON = """
#define OUT (SIZE - FILTER + 1)
#define RUN (FILTER * CI)
"""

# One image row of PR pixels at a time; `image` is addressed as [row][column][channel].
_TILE = """
INLINE void tile(float *out, const float *image, const float *panel, const float *bias,
                 const int rows, const int cols, long row_stride, int channels, long run,
                 int filter_from, int filter_to, int out_channels) {
  vec c[PR][NV];
  EACH_ROW EACH_VECTOR c[r][v] = bias ? load(bias + v * VW, REST) : (vec)0;
  for (int f = filter_from; f < filter_to; f++) {
    const float *a = image + (f - filter_from) * row_stride, *w = panel + f * run * NR;
    _Pragma("clang loop unroll(disable)")  // else a short run is unrolled, and the tile spilled
    for (long k = 0; k < run; k++)
      ADD_PRODUCT(a[r * channels + k], *(const vec *)(w + k * NR + v * VW));
  }
  EACH_ROW EACH_VECTOR store(out + r * out_channels + v * VW, c[r][v], REST);
}
"""

_FORWARD = """
INLINE void channels(float *Y, const float *X, const float *F, const float *bias,
                     const int *sizes, float *panel, int j, const int cols) {
  for (long k = 0; k < FILTER * RUN; k++)
    for (int q = 0; q < NR; q++) panel[k * NR + q] = q < cols ? F[k * CO + j + q] : 0;
  for (long n = 0; n < BATCH; n++)
    for (int y = 0; y < OUT; y++) {
      const float *image = X + (n * SIZE + y) * SIZE * CI;
      float *out = Y + (n * OUT + y) * OUT * CO + j;
      int x;
      EACH_STEP(x, OUT, PR, rows,
                tile(out + x * CO, image + x * CI, panel, bias + j, rows, cols, SIZE * CI, CI, RUN,
                     0, FILTER, CO));
    }
}
void KERNEL(float *restrict Y, const float *restrict X, const float *restrict F,
            const float *restrict bias) {
  float panel[FILTER * RUN * NR];
  int j;
  EACH_STEP(j, CO, NR, cols, channels(Y, X, F, bias, sizes, panel, j, cols));
}
"""

# dX is the convolution of G, padded in its columns, with the filter turned by 180 degrees; rows
# that padding would add are left out instead.
_INPUT_GRADIENT = """
#define PADDED (OUT + 2 * (FILTER - 1))
INLINE void channels(float *D, const float *padded, const float *F, float *panel, long n, int j,
                     const int cols) {
  for (int y = 0; y < SIZE; y++) {
    const int last = y < OUT ? y : OUT - 1, first = y - FILTER + 1 > 0 ? y - FILTER + 1 : 0;
    const float *image = padded + first * PADDED * CO;
    float *out = D + (n * SIZE + y) * SIZE * CI + j;
    const int from = FILTER - 1 - (y - first), to = FILTER - (y - last);
    int x;
    EACH_STEP(x, SIZE, PR, rows,
              tile(out + x * CI, image + x * CO, panel, 0, rows, cols, PADDED * CO, CO,
                   FILTER * CO, from, to, CI));
  }
}
void KERNEL(float *restrict D, const float *restrict G, const float *restrict F) {
  float padded[OUT * PADDED * CO], panel[FILTER * FILTER * CO * NR];
  for (long k = 0; k < OUT * PADDED * CO; k++) padded[k] = 0;
  for (int j = 0; j < CI; j += NR) {
    for (int f = 0; f < FILTER * FILTER; f++)
      for (int o = 0; o < CO; o++)
        for (int q = 0; q < NR; q++)
          panel[(f * CO + o) * NR + q] =
              j + q < CI ? F[((FILTER * FILTER - 1 - f) * CI + j + q) * CO + o] : 0;
    for (long n = 0; n < BATCH; n++) {
      for (int y = 0; y < OUT; y++)
        for (int k = 0; k < OUT * CO; k++)
          padded[(y * PADDED + FILTER - 1) * CO + k] = G[(n * OUT + y) * OUT * CO + k];
      if (j + NR <= CI) channels(D, padded, F, panel, n, j, NR);
      else channels(D, padded, F, panel, n, j, CI % NR);
    }
  }
}
"""

# AT_ONCE image rows are worked through for all taps, so that they stay in the first-level cache.
_WEIGHT_GRADIENT = """
INLINE void taps(float *D, const float *X, const float *G, long n, int y0, int y1, int f, int t,
                 int j, const int rows, const int cols) {
  vec c[MR][NV];
  float *out = D + (f * RUN + t) * CO + j;
  EACH_ROW EACH_VECTOR c[r][v] = n || y0 ? load(out + r * CO + v * VW, REST) : (vec)0;
  for (int y = y0; y < y1; y++) {
    const float *a = X + (n * SIZE + y + f) * SIZE * CI + t, *g = G + (n * OUT + y) * OUT * CO + j;
    for (int at = 0; at < OUT; at++)
      ADD_PRODUCT(a[at * CI + r], load(g + at * CO + v * VW, REST));
  }
  EACH_ROW EACH_VECTOR store(out + r * CO + v * VW, c[r][v], REST);
}
INLINE void channels(float *D, float *sums, const float *X, const float *G, long n, int y0,
                     int y1, int j, const int cols) {
  EACH_VECTOR {
    vec s = n || y0 ? load(sums + j + v * VW, REST) : (vec)0;
    for (long p = y0 * OUT; p < y1 * OUT; p++)
      s += load(G + (n * OUT * OUT + p) * CO + j + v * VW, REST);
    store(sums + j + v * VW, s, REST);
  }
  for (int f = 0; f < FILTER; f++) {
    int t;
    EACH_STEP(t, RUN, MR, rows, taps(D, X, G, n, y0, y1, f, t, j, rows, cols));
  }
}
void KERNEL(float *restrict D, float *restrict sums, const float *restrict X,
            const float *restrict G) {
  for (long n = 0; n < BATCH; n++)
    for (int y0 = 0; y0 < OUT; y0 += AT_ONCE) {
      const int y1 = y0 + AT_ONCE < OUT ? y0 + AT_ONCE : OUT;
      int j;
      EACH_STEP(j, CO, NR, cols, channels(D, sums, X, G, n, y0, y1, j, cols));
    }
}
"""

#: Bytes of images and gradients to work on at once: most of a first-level cache of 32 KiB.
_CACHE = 24 * 1024


def _kernel(
    source: str,
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    image: tuple[int, ...],
    weights: tuple[int, ...],
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """A kernel on an ``image`` (batch, size, size, channels) and ``weights`` (f, f, ci, co)."""
    batch, size, _, _ = image
    taps, _, ci, co = weights
    out = size - taps + 1
    pixels = size if source is _INPUT_GRADIENT else out
    at_once = max(1, _CACHE // (4 * (size * ci + out * co)))
    names = ("SIZE", "FILTER", "CI", "CO", "PR", "AT_ONCE")
    values = (size, taps, ci, co, csource.tile_rows(pixels), at_once)
    constants = dict(zip(names, values, strict=True))
    name = {_FORWARD: "conv", _INPUT_GRADIENT: "conv_dx", _WEIGHT_GRADIENT: "conv_dw"}[source]
    text = _COMMON + ("" if source is _WEIGHT_GRADIENT else _TILE) + source
    return csource.kernel(name, text, outputs, inputs, {"BATCH": batch}, constants, gradients)


def _gradients(gradient: UOp, call: UOp) -> tuple[UOp | None, ...]:
    x, w, b = (Tensor(source) for source in call.src[2:5])
    g = Tensor(gradient).contiguous()
    dx, dw, db = (csource.empty(*source.shape, like=source) for source in (x, w, b))
    dw, db = _kernel(_WEIGHT_GRADIENT, [dw, db], [x, g], x.shape, w.shape)
    (dx,) = _kernel(_INPUT_GRADIENT, [dx], [g, w], x.shape, w.shape)
    return None, dx.uop, dw.uop, db.uop


def convolution(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Valid cross-correlation of ``x`` (n, size, size, ci) with ``w`` (f, f, ci, co), plus ``b``.

    Returns (n, size - f + 1, size - f + 1, co), float32 as its arguments, which may all have a
    leading axis of trials. Differentiable in all three. On a CPU with clang it is a C kernel where
    there is no such axis, fast or direct (``tile_size``), elsewhere plain Tensor operations; all
    agree to rounding.
    """
    if w.ndim > 4 or not csource.supported(x.device):
        return _plain(x, w, b)
    if tile := tile_size(x.shape, w.shape):
        return fast_convolution(x, w, b, tile)
    out = x.shape[1] - w.shape[0] + 1
    result = csource.empty(x.shape[0], out, out, w.shape[3], like=x)
    return _kernel(_FORWARD, [result], [x, w, b], x.shape, w.shape, _gradients)[0]


def _plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``convolution`` in Tensor operations: the trials of a leading axis are groups of channels."""
    trials = w.shape[0] if w.ndim > 4 else 1
    *_, n, size, _, inputs = x.shape
    *_, taps, _, _, outputs = w.shape
    out = size - taps + 1
    images = x.reshape(trials, n, size, size, inputs).permute(1, 0, 4, 2, 3)
    filters = w.reshape(trials, taps, taps, inputs, outputs).permute(0, 4, 3, 1, 2)
    result = images.reshape(n, trials * inputs, size, size).conv2d(
        filters.reshape(trials * outputs, inputs, taps, taps), b.flatten(), groups=trials
    )
    result = result.reshape(n, trials, outputs, out, out).permute(1, 0, 3, 4, 2)
    return result.reshape(*x.shape[:-3], out, out, outputs)
