"""Convolution with several times fewer products: tiles of results by Cook-Toom's algorithm.

A convolution and its gradients are one bilinear algorithm and its adjoints over the same tiles,
m x m results that r x r taps make of (m + r - 1)^2 pixels; p is one of as many positions:

    Y  = result(M),           M[p] = V[p] U[p],           V = data(X), U = filter(F)
    dX = data_adjoint(E),     E[p] = W[p] U[p]',          W = result_adjoint(dY)
    dF = filter_adjoint(H),   H[p] = sum of V[p]' W[p]

Between the maps there are plain matrix products, tiles by channels; F(4x4, 5x5) needs 6.25 times
fewer of them than direct convolution, F(4x4, 3x3) 4, F(3x3, 3x3) 3.24.
"""

from __future__ import annotations

from tinygrad import Tensor, UOp

from mnist_sweep.kernels import cook_toom, csource
from mnist_sweep.kernels.sizes import Gradients

#: Position ONE is that of the point 1 in both directions, where each result has the factor 1: what
#: is added to M there is added to every pixel, and W is the sum over a tile there.
_COMMON = """
#define SPAN (TILE + FILTER - 1)
#define POSITIONS (SPAN * SPAN)
#define ONE (SPAN + 1)
#define OUT (SIZE - FILTER + 1)
#define ALONG (OUT / TILE)
#define TILES (ALONG * ALONG)
#define IMAGE (SIZE * SIZE * CI)
#define RESULT (OUT * OUT * CO)
// Floats between positions: an odd number of cache lines, or they would meet in few cache sets.
#define STRIDE(channels) ((IMAGES * TILES * (channels) / LINE | 1) * LINE)
#define X_STRIDE STRIDE(CI)
#define Y_STRIDE STRIDE(CO)
#define EACH(i, size) for (int i = 0; i < (size); i++)
#define EACH_CHANNEL(c, channels) for (int c = 0; c < (channels); c += VW)
#define GET(p) load(p, VW)
#define PUT(p, v) store(p, v, VW)
#if (defined(__FMA__) || defined(__aarch64__)) && __has_builtin(__builtin_elementwise_fma)
  #define FMA(a, b, c) __builtin_elementwise_fma((vec)(a), b, c)
#else
  #define FMA(a, b, c) ((a) * (b) + (c))
#endif
"""

# In a sum of two products a compiler may fuse either with the addition, and the last bits would
# depend on the target; so the maps say where to fuse.
_MAPS = "#pragma clang fp contract(off)\n"

# A patch of vectors lies in memory with `down` floats between its rows and `right` between columns.
_PATCHES = """
#define MAP_PATCH(name, map, from, to) \\
INLINE void name(float *out, long down, long right, \\
                 const float *in, long in_down, long in_right) { \\
  vec half[from][to]; \\
  EACH(x, from) { \\
    vec column[from]; \\
    FULL_UNROLL EACH(y, from) column[y] = GET(in + y * in_down + x * in_right); \\
    map(half[x], column); \\
  } \\
  EACH(y, to) { \\
    vec row[from], mapped[to]; \\
    FULL_UNROLL EACH(x, from) row[x] = half[x][y]; \\
    map(mapped, row); \\
    FULL_UNROLL EACH(x, to) PUT(out + y * down + x * right, mapped[x]); \\
  } \\
}
MAP_PATCH(filter_patch, filter, FILTER, SPAN)
MAP_PATCH(filter_adjoint_patch, filter_adjoint, SPAN, FILTER)
MAP_PATCH(result_patch, result, SPAN, TILE)
MAP_PATCH(result_adjoint_patch, result_adjoint, TILE, SPAN)

// U[position][a][b] of F[tap][a][b].
INLINE void transform_filters(float *U, const float *F, const int rows, const int channels) {
  const long size = rows * channels;
  for (long k = 0; k < size; k += VW)
    filter_patch(U + k, SPAN * size, size, F + k, FILTER * size, size);
}
INLINE void transform_results(float *Y, const float *M) {
  EACH(ty, ALONG) EACH(tx, ALONG) EACH_CHANNEL(c, CO)
    result_patch(Y + (ty * OUT + tx) * TILE * CO + c, OUT * CO, CO,
                 M + (ty * ALONG + tx) * CO + c, SPAN * Y_STRIDE, Y_STRIDE);
}
INLINE void transform_slopes(float *W, const float *G) {
  EACH(ty, ALONG) EACH(tx, ALONG) EACH_CHANNEL(c, CO)
    result_adjoint_patch(W + (ty * ALONG + tx) * CO + c, SPAN * Y_STRIDE, Y_STRIDE,
                         G + (ty * OUT + tx) * TILE * CO + c, OUT * CO, CO);
}
// Tiles overlap in the image: a row of tiles has its columns mapped once for all of them.
INLINE void transform_image(float *V, const float *X) {
  EACH(ty, ALONG) EACH_CHANNEL(c, CI) {
    vec strip[SIZE][SPAN];
    EACH(x, SIZE) {
      vec column[SPAN];
      FULL_UNROLL EACH(y, SPAN) column[y] = GET(X + ((ty * TILE + y) * SIZE + x) * CI + c);
      data(strip[x], column);
    }
    EACH(tx, ALONG) EACH(y, SPAN) {
      vec row[SPAN], mapped[SPAN];
      FULL_UNROLL EACH(x, SPAN) row[x] = strip[tx * TILE + x][y];
      data(mapped, row);
      float *out = V + y * SPAN * X_STRIDE + (ty * ALONG + tx) * CI + c;
      FULL_UNROLL EACH(x, SPAN) PUT(out + x * X_STRIDE, mapped[x]);
    }
  }
}
// What overlapping tiles add to a pixel is summed along a row of tiles, then between such rows.
INLINE void transform_image_adjoint(float *D, const float *E) {
  EACH(ty, ALONG) EACH_CHANNEL(c, CI) {
    vec strip[SIZE][SPAN];
    EACH(tx, ALONG) EACH(y, SPAN) {
      vec row[SPAN], mapped[SPAN];
      const float *in = E + y * SPAN * X_STRIDE + (ty * ALONG + tx) * CI + c;
      FULL_UNROLL EACH(x, SPAN) row[x] = GET(in + x * X_STRIDE);
      data_adjoint(mapped, row);
      if (tx) FULL_UNROLL EACH(x, FILTER - 1) mapped[x] += strip[tx * TILE + x][y];
      FULL_UNROLL EACH(x, SPAN) strip[tx * TILE + x][y] = mapped[x];
    }
    EACH(x, SIZE) {
      vec column[SPAN];
      float *out = D + (ty * TILE * SIZE + x) * CI + c;
      data_adjoint(column, strip[x]);
      if (ty) FULL_UNROLL EACH(y, FILTER - 1) column[y] += GET(out + y * SIZE * CI);
      FULL_UNROLL EACH(y, SPAN) PUT(out + y * SIZE * CI, column[y]);
    }
  }
}
"""

# While products are computed the memory idles: what the next map reads and writes is fetched.
_PRODUCTS = """
#pragma clang fp contract(fast)
typedef struct { const float *read, *written; long reads, writes; } ahead;
#define PARTS(size, step) (((size) + (step) - 1) / (step))
// So many floats are to be read and written, and fetched between `tiles` register tiles.
#define AHEAD(read, reads, written, writes, tiles) \\
  {read, written, PARTS((reads) / LINE, tiles), PARTS((writes) / LINE, tiles)}
INLINE void fetch(ahead *a) {
  for (long k = 0; k < a->reads; k++, a->read += LINE) __builtin_prefetch(a->read, 0, 2);
  for (long k = 0; k < a->writes; k++, a->written += LINE) __builtin_prefetch(a->written, 1, 2);
}
// C = A B, or C += A B, for `rows` by `cols` of C; its rows are `width` floats apart, as B's are.
INLINE void tile(float *C, const int add, const float *A, long a_row, long a_column,
                 const float *B, long width, const int rows, const int cols, long depth) {
  vec c[MR][NV];
  EACH_ROW EACH_VECTOR c[r][v] = add ? GET(C + r * width + v * VW) : (vec)0;
  for (long k = 0; k < depth; k++)
    ADD_PRODUCT(A[r * a_row + k * a_column], GET(B + k * width + v * VW));
  EACH_ROW EACH_VECTOR PUT(C + r * width + v * VW, c[r][v]);
}
// `cols` columns of C (an image's TILES, width) = A (TILES, depth) B (depth, width).
INLINE void product(float *C, const float *A, const float *B, long depth, long width,
                    const int cols, ahead *a) {
  int t;
  EACH_STEP(t, TILES, PR, rows,
            tile(C + t * width, 0, A + t * depth, depth, 1, B, width, rows, cols, depth);
            fetch(a));
}
// `cols` columns of C (CI, CO) += A' B, for `depth` tiles of A (depth, CI) and B (depth, CO).
INLINE void outer_product(float *C, const float *A, const float *B, long depth, const int cols,
                          ahead *a) {
  int i;
  EACH_STEP(i, CI, CR, rows,
            tile(C + i * CO, 1, A + i, 1, CI, B, CO, rows, cols, depth);
            fetch(a));
}
"""

_FORWARD = """
void KERNEL(float *restrict Y, float *restrict scratch, const float *restrict X,
            const float *restrict F, const float *restrict bias) {
  float *U = scratch, *V = U + POSITIONS * CI * CO, *M = V + POSITIONS * X_STRIDE;
  int j;
  transform_filters(U, F, CI, CO);
  for (long n = 0; n < BATCH; n++, X += IMAGE, Y += RESULT) {
    ahead a = AHEAD(X + IMAGE, IMAGE, Y, RESULT, POSITIONS * PARTS(CO, NR) * PARTS(TILES, PR));
    transform_image(V, X);
    EACH(p, POSITIONS)
      EACH_STEP(j, CO, NR, cols,
                product(M + p * Y_STRIDE + j, V + p * X_STRIDE, U + p * CI * CO + j, CI, CO, cols,
                        &a));
    float *one = M + ONE * Y_STRIDE;
    EACH(t, TILES) EACH_CHANNEL(o, CO) PUT(one + t * CO + o, GET(one + t * CO + o) + GET(bias + o));
    transform_results(Y, M);
  }
}
"""

# W serves both gradients. IMAGES are worked through at a time, so that H is not loaded and stored
# for a few tiles; E takes the place of V.
_GRADIENTS = """
void KERNEL(float *restrict D, float *restrict DF, float *restrict sums, float *restrict scratch,
            const float *restrict X, const float *restrict G, const float *restrict F) {
  float *U = scratch, *H = U + POSITIONS * CI * CO, *V = H + POSITIONS * CI * CO;
  float *W = V + POSITIONS * X_STRIDE;
  int j;
  EACH(f, FILTER * FILTER) EACH(i, CI) EACH(o, CO)  // H has room
    H[(f * CO + o) * CI + i] = F[(f * CI + i) * CO + o];
  transform_filters(U, H, CO, CI);
  EACH(k, POSITIONS * CI * CO) H[k] = 0;
  EACH(o, CO) sums[o] = 0;
  for (long n = 0; n < BATCH; n += IMAGES, X += IMAGES * IMAGE, G += IMAGES * RESULT) {
    const int images = BATCH - n < IMAGES ? BATCH - n : IMAGES;
    EACH(i, images) {
      transform_image(V + i * TILES * CI, X + i * IMAGE);
      transform_slopes(W + i * TILES * CO, G + i * RESULT);
    }
    EACH(t, images * TILES) EACH_CHANNEL(o, CO)
      PUT(sums + o, GET(sums + o) + GET(W + ONE * Y_STRIDE + t * CO + o));
    ahead next = AHEAD(X + IMAGES * IMAGE, IMAGES * IMAGE, G + IMAGES * RESULT, IMAGES * RESULT,
                       POSITIONS * PARTS(CO, NR) * PARTS(CI, CR));
    EACH(p, POSITIONS)
      EACH_STEP(j, CO, NR, cols,
                outer_product(H + p * CI * CO + j, V + p * X_STRIDE, W + p * Y_STRIDE + j,
                              images * TILES, cols, &next));
    EACH(i, images) {
      ahead a = AHEAD(D, IMAGE, D, 0, POSITIONS * PARTS(CI, NR) * PARTS(TILES, PR));
      float *E = V + i * TILES * CI;
      EACH(p, POSITIONS)
        EACH_STEP(j, CI, NR, cols,
                  product(E + p * X_STRIDE + j, W + p * Y_STRIDE + i * TILES * CO,
                          U + p * CI * CO + j, CO, CI, cols, &a));
      transform_image_adjoint(D, E);
      D += IMAGE;
    }
  }
  EACH_CHANNEL(k, CI * CO)
    filter_adjoint_patch(DF + k, FILTER * CI * CO, CI * CO, H + k, SPAN * CI * CO, CI * CO);
}
"""

#: Floats in a cache line and in the widest vector.
_LINE = 16
#: Results along a side of a tile: the first that divides the image is taken.
_TILES = (4, 3, 2)
#: Fewest tiles whose outer products are worth loading and storing H.
_TILES_AT_ONCE = 32


def tile_size(image: tuple[int, ...], weights: tuple[int, ...]) -> int | None:
    """Results along a side of a tile, None where direct convolution serves.

    ``image`` is (n, size, size, ci), ``weights`` (f, f, ci, co). The tiles must divide the image
    and the widest vector the channels; more than 5 taps would need points that lose digits.
    Measured on Zen 3 against the direct kernels, forward and gradients: 3.6 and 4.6 times as fast
    for 5 x 5 filters of 32 to 32 channels on 24 x 24 pixels, 2.1 and 2.2 for 3 x 3 of 64 to 64 on
    8 x 8 (batch 32), 1.3 to 2.4 where only tiles of 2 divide the image; but 0.5 to 1.5 with a
    single tile an image, and 0.6 to 1.1 with fewer than 16 tiles in all, which the maps of the
    filters are not worth.
    """
    taps, _, inputs, outputs = weights
    out = image[1] - taps + 1
    if not 3 <= taps <= 5 or inputs % _LINE or outputs % _LINE:
        return None
    tile = next((tile for tile in _TILES if out % tile == 0), out)
    along = out // tile
    return tile if along > 1 and image[0] * along**2 >= 16 else None


def _convolve(
    source: str,
    outputs: list[Tensor],
    inputs: list[Tensor],
    x: Tensor,
    w: Tensor,
    tile: int,
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """``outputs`` written by kernel ``source`` from ``inputs``, of images ``x`` and filters ``w``.

    Behind the outputs the kernel gets scratch memory, more than it would find on the stack.
    """
    batch, size, _, _ = x.shape
    taps, _, ci, co = w.shape
    tiles, positions = ((size - taps + 1) // tile) ** 2, (tile + taps - 1) ** 2
    at_once = 1 if source is _FORWARD else max(1, _TILES_AT_ONCE // tiles)
    rows = csource.tile_rows(tiles), csource.tile_rows(ci)
    names = ("SIZE", "FILTER", "CI", "CO", "TILE", "IMAGES", "LINE", "PR", "CR")
    values = (size, taps, ci, co, tile, at_once, _LINE, *rows)
    scratch = 2 * ci * co + at_once * tiles * (ci + co) + 2 * _LINE
    constants = dict(zip(names, values, strict=True))
    name = "fast_conv" if source is _FORWARD else "fast_conv_gradients"
    text = _COMMON + _MAPS + cook_toom.source(tile, taps) + _PATCHES + _PRODUCTS + source
    written = [*outputs, csource.empty(positions * scratch, like=x)]
    written = csource.kernel(name, text, written, inputs, {"BATCH": batch}, constants, gradients)
    return written[: len(outputs)]


def fast_convolution(x: Tensor, w: Tensor, b: Tensor, tile: int) -> Tensor:
    """``convolution`` by tiles of ``tile`` x ``tile`` results, which ``tile_size`` has chosen."""

    def gradients(upstream: UOp, call: UOp) -> tuple[UOp | None, ...]:
        x, w, b = (Tensor(source) for source in call.src[3:6])
        empty = [csource.empty(*source.shape, like=source) for source in (x, w, b)]
        inputs = [x, Tensor(upstream).contiguous(), w]
        return None, None, *(d.uop for d in _convolve(_GRADIENTS, empty, inputs, x, w, tile))

    out = x.shape[1] - w.shape[0] + 1
    empty = csource.empty(x.shape[0], out, out, w.shape[3], like=x)
    return _convolve(_FORWARD, [empty], [x, w, b], x, w, tile, gradients)[0]
