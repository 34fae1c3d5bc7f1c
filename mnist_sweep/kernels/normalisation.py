"""Batch norm in training and 2 x 2 max-pooling, over (batch, height, width, channels)."""

from __future__ import annotations

from functools import partial

from tinygrad import Tensor, UOp

from mnist_sweep.kernels import csource

#: Rows are summed in blocks, so that rounding grows with the number of blocks and of rows in one,
#: not with their product.
_SUMS = """
#define BLOCK 256
#define EACH_CHANNEL for (int c = 0; c < CHANNELS; c += VW)
#define LEFT (CHANNELS - c)

// total[c] = the sum over all rows of term(row, c).
#define SUM_ROWS(total, term) do { \\
  float total_[CHANNELS + VW] = {0}; \\
  for (long start = 0; start < ROWS; start += BLOCK) { \\
    const long end = start + BLOCK < ROWS ? start + BLOCK : ROWS; \\
    float block_[CHANNELS + VW] = {0}; \\
    for (long row = start; row < end; row++) \\
      EACH_CHANNEL *(vec *)(block_ + c) += term; \\
    EACH_CHANNEL *(vec *)(total_ + c) += *(vec *)(block_ + c); \\
  } \\
  EACH_CHANNEL *(vec *)(total + c) = *(vec *)(total_ + c); \\
} while (0)
#define AT(array) load((array) + row * CHANNELS + c, LEFT)
#define OF(array) (*(const vec *)((array) + c))
"""

_FORWARD = """
void KERNEL(float *restrict Y, float *restrict mean_out, float *restrict variance_out,
            const float *restrict X, const float *restrict weight, const float *restrict bias) {
  float mean[CHANNELS + VW], variance[CHANNELS + VW], factor[CHANNELS + VW];
  SUM_ROWS(mean, AT(X));
  EACH_CHANNEL { *(vec *)(mean + c) /= (vec)ROWS; store(mean_out + c, OF(mean), LEFT); }
  SUM_ROWS(variance, (AT(X) - OF(mean)) * (AT(X) - OF(mean)));
  EACH_CHANNEL {
    *(vec *)(variance + c) /= (vec)ROWS;
    store(variance_out + c, OF(variance), LEFT);
  }
  for (int c = 0; c < CHANNELS; c++)
    factor[c] = weight[c] / __builtin_sqrtf(variance[c] + 1.0f / EPSILON_INVERSE);
  for (long row = 0; row < ROWS; row++)
    EACH_CHANNEL store(Y + row * CHANNELS + c,
                       (AT(X) - OF(mean)) * OF(factor) + load(bias + c, LEFT), LEFT);
}
"""

_BACKWARD = """
void KERNEL(float *restrict D, float *restrict dweight, float *restrict dbias,
            const float *restrict G, const float *restrict X, const float *restrict weight,
            const float *restrict mean_in, const float *restrict variance_in) {
  float mean[CHANNELS + VW], root[CHANNELS + VW], slope[CHANNELS + VW], shift[CHANNELS + VW];
  for (int c = 0; c < CHANNELS; c++) {
    mean[c] = mean_in[c];
    root[c] = 1 / __builtin_sqrtf(variance_in[c] + 1.0f / EPSILON_INVERSE);
  }
  SUM_ROWS(shift, AT(G));
  SUM_ROWS(slope, AT(G) * (AT(X) - OF(mean)));
  for (int c = 0; c < CHANNELS; c++) {
    dbias[c] = shift[c];
    dweight[c] = slope[c] * root[c];
    shift[c] /= ROWS;
    slope[c] *= root[c] * root[c] / ROWS;
    root[c] *= weight[c];
  }
  for (long row = 0; row < ROWS; row++)
    EACH_CHANNEL store(D + row * CHANNELS + c,
        (AT(G) - OF(shift) - (AT(X) - OF(mean)) * OF(slope)) * OF(root), LEFT);
}
"""

_POOL_COMMON = """
#define HALF (SIZE / 2)
#define EACH_OUTPUT for (long n = 0; n < BATCH; n++) for (int y = 0; y < HALF; y++) \\
  for (int x = 0; x < HALF; x++) for (int c = 0; c < CHANNELS; c += VW)
#define IN(dy, dx) (((n * SIZE + 2 * y + dy) * SIZE + 2 * x + dx) * CHANNELS + c)
#define OUT_AT (((n * HALF + y) * HALF + x) * CHANNELS + c)
#define LEFT (CHANNELS - c)
"""

_POOL = """
void KERNEL(float *restrict Y, const float *restrict X) {
  EACH_OUTPUT {
    vec a = load(X + IN(0, 0), LEFT), b = load(X + IN(0, 1), LEFT);
    vec d = load(X + IN(1, 0), LEFT), e = load(X + IN(1, 1), LEFT);
    vec top = __builtin_elementwise_max(a, b), low = __builtin_elementwise_max(d, e);
    store(Y + OUT_AT, __builtin_elementwise_max(top, low), LEFT);
  }
}
"""

# Equal maxima share the gradient, as tinygrad's max does.
_POOL_GRADIENT = """
#define IS_MAX(v) (-__builtin_convertvector((v) == m, vec))
void KERNEL(float *restrict D, const float *restrict G, const float *restrict X,
            const float *restrict Y) {
  EACH_OUTPUT {
    vec m = load(Y + OUT_AT, LEFT), g = load(G + OUT_AT, LEFT);
    vec a = IS_MAX(load(X + IN(0, 0), LEFT)), b = IS_MAX(load(X + IN(0, 1), LEFT));
    vec d = IS_MAX(load(X + IN(1, 0), LEFT)), e = IS_MAX(load(X + IN(1, 1), LEFT));
    vec share = g / (a + b + d + e);
    store(D + IN(0, 0), a * share, LEFT);
    store(D + IN(0, 1), b * share, LEFT);
    store(D + IN(1, 0), d * share, LEFT);
    store(D + IN(1, 1), e * share, LEFT);
  }
}
"""


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Each channel of ``x`` (n, h, w, c) with mean ``bias`` and standard deviation ``weight`` (c,).

    Returns the result, shaped like ``x``, and the channels' means and variances (c,) in this batch
    (over n, h and w; divided by their number). All may have a leading axis of trials, each of which
    has statistics of its own. Differentiable in ``x``, ``weight`` and ``bias`` through the first
    result. ``epsilon`` is one over a whole number.
    """
    channels = x.shape[-1]
    rows = x.numel() // channels
    if x.ndim > 4 or not csource.supported(x.device):
        mean = x.mean((-4, -3, -2)).contiguous()
        centred = x - per_channel(mean)
        variance = (centred * centred).mean((-4, -3, -2)).contiguous()
        factor = (weight * (variance + epsilon).rsqrt()).contiguous()
        return centred * per_channel(factor) + per_channel(bias), mean, variance
    constants = {"CHANNELS": channels, "EPSILON_INVERSE": round(1 / epsilon)}
    kernel = partial(csource.kernel, constants=constants, sizes={"ROWS": rows})

    def gradients(upstream: UOp, call: UOp) -> tuple[UOp | None, ...]:
        mean, variance, x, weight = (Tensor(source) for source in call.src[2:6])
        g = Tensor(upstream).contiguous()
        done = (Tensor(statistic.uop.after(call)) for statistic in (mean, variance))
        written = kernel("batch_norm_dx", _SUMS + _BACKWARD, empty(), [g, x, weight, *done])
        return None, None, None, *(derived.uop for derived in written)

    def empty() -> list[Tensor]:
        return [csource.empty(*like.shape, like=x) for like in (x, weight, bias)]

    forward = partial(kernel, "batch_norm", _SUMS + _FORWARD, gradients=gradients)
    out, mean, variance = forward(empty(), [x, weight, bias])
    return out, mean, variance


def per_channel(values: Tensor) -> Tensor:
    """``values`` (..., c), shaped to meet the channels of images (..., n, h, w, c)."""
    return values.reshape(*values.shape[:-1], 1, 1, 1, values.shape[-1])


def max_pool(x: Tensor) -> Tensor:
    """The largest of each 2 x 2 pixels of ``x`` (..., n, size, size, c), whose size is even."""
    *_, batch, size, _, channels = x.shape
    half = size // 2
    if x.ndim > 4 or not csource.supported(x.device):
        return x.reshape(*x.shape[:-3], half, 2, half, 2, channels).max((-4, -2))
    constants = {"SIZE": size, "CHANNELS": channels}
    kernel = partial(csource.kernel, sizes={"BATCH": batch}, constants=constants)

    def gradients(upstream: UOp, call: UOp) -> tuple[UOp | None, ...]:
        out, x = Tensor(call.src[1].after(call)), Tensor(call.src[2])
        g = Tensor(upstream).contiguous()
        dx = [csource.empty(*x.shape, like=x)]
        return None, kernel("max_pool_dx", _POOL_COMMON + _POOL_GRADIENT, dx, [g, x, out])[0].uop

    out = [csource.empty(batch, half, half, channels, like=x)]
    return kernel("max_pool", _POOL_COMMON + _POOL, out, [x], gradients=gradients)[0]
