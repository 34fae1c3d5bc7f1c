"""C kernels inside the tinygrad graph of the CPU device.

tinygrad's generated matrix products reach a sixth of a core's peak; a register tile written in C
reaches 80 to 95 %. The sources here are plain C for clang with vector extensions: the tile follows
the target's own macros, so that one source serves AVX-512, AVX2, SSE and NEON.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from tinygrad import Device, Tensor, UOp
from tinygrad.renderer import Estimates
from tinygrad.renderer.cstyle import ClangRenderer
from tinygrad.uop.ops import KernelInfo, Ops, ProgramInfo

from mnist_sweep.devices import is_cpu
from mnist_sweep.kernels.sizes import Gradients, sized_kernel

#: Vector type, register tile and helpers that every kernel shares. A tile of MR rows by NV vectors
#: leaves registers for NV loads and one broadcast: 24 + 5 of 32, or 12 + 3 of 16.
PREAMBLE = """
#if defined(__AVX512F__)
  #define VW 16
  #define NV 4
#elif defined(__AVX__)
  #define VW 8
  #define NV 2
#elif defined(__aarch64__)
  #define VW 4
  #define NV 4
#else
  #define VW 4
  #define NV 2
#endif
#define MR 6
#define NR (VW * NV)
#define INLINE static inline __attribute__((always_inline))
#define FULL_UNROLL _Pragma("clang loop unroll(full)")
typedef float vec __attribute__((ext_vector_type(VW), aligned(4)));
typedef float vec4 __attribute__((ext_vector_type(4), aligned(4)));
#pragma clang fp contract(fast)

// A register tile: c[r][v] is vector v of row r. `rows` and `cols` are constants where a tile is
// inlined; REST columns are left from vector v on.
#define EACH_ROW FULL_UNROLL for (int r = 0; r < rows; r++)
#define EACH_VECTOR FULL_UNROLL for (int v = 0; v < NV; v++) if (v * VW < cols)
#define REST (cols - v * VW)
#define MULTIPLY_ADD(c, x, b) c += (x) * (b)
// c += the outer product of the floats `left`, one for each r, and the vectors `right`, for each v.
#define ADD_PRODUCT(left, right) do { \\
  vec b[NV]; \\
  EACH_VECTOR b[v] = right; \\
  EACH_ROW { \\
    vec x = (vec)(left); \\
    EACH_VECTOR MULTIPLY_ADD(c[r][v], x, b[v]); \\
  } \\
} while (0)
// Do something for every i = 0, step, .. below size; n is `step`, or what is left at the end.
#define EACH_STEP(i, size, step, n, ...) EACH_PART(i, size, (size) % (step), step, n, __VA_ARGS__)
// The same where only the `rest` of size is a constant.
#define EACH_PART(i, size, rest, step, n, ...) do { \\
  for (i = 0; i + (step) <= (size); i += step) { enum { n = step }; __VA_ARGS__; } \\
  if (rest) { enum { n = rest }; __VA_ARGS__; } \\
} while (0)

// The first `n` (1 to VW) floats at p; the rest is 0.
INLINE vec load(const float *p, int n) {
  if (n >= VW) return *(const vec *)p;
  vec v = (vec)0;
  __builtin_memcpy(&v, p, 4 * n);
  return v;
}
INLINE void store(float *p, vec v, int n) {
  if (n >= VW) *(vec *)p = v;
  else __builtin_memcpy(p, &v, 4 * n);
}
// dst[k][q] = src[q][k] for k < depth, q < 4; dst has rows of NR floats, src of `stride` floats.
INLINE void transpose4(float *dst, const float *src, long stride, long depth) {
  long k = 0;
  for (; k + 4 <= depth; k += 4) {
    vec4 a = *(const vec4 *)(src + k), b = *(const vec4 *)(src + stride + k);
    vec4 c = *(const vec4 *)(src + 2 * stride + k), d = *(const vec4 *)(src + 3 * stride + k);
    vec4 e = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    vec4 f = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    vec4 g = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    vec4 h = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(vec4 *)(dst + k * NR) = __builtin_shufflevector(e, f, 0, 1, 4, 5);
    *(vec4 *)(dst + (k + 1) * NR) = __builtin_shufflevector(e, f, 2, 3, 6, 7);
    *(vec4 *)(dst + (k + 2) * NR) = __builtin_shufflevector(g, h, 0, 1, 4, 5);
    *(vec4 *)(dst + (k + 3) * NR) = __builtin_shufflevector(g, h, 2, 3, 6, 7);
  }
  for (; k < depth; k++)
    for (int q = 0; q < 4; q++) dst[k * NR + q] = src[q * stride + k];
}
"""


def tile_rows(rows: int) -> int:
    """How many of so many ``rows`` a register tile takes, so that few of the last one are idle."""
    return min((6, 5, 4), key=lambda tile: -(-rows // tile) * tile)


#: Uses everything of the language and of the processor that the kernels use.
_SAMPLE = """
void KERNEL(float *restrict C, const float *restrict A) {
  float panel[4 * NR];
  transpose4(panel, A, 4, 4);
  for (int c = 0; c < COUNT; c++) {
    vec v = load(A + 4 * c, 4), m = __builtin_elementwise_max(v, (vec)8);
    store(C + 4 * c, load(panel + c * NR, 4) - __builtin_convertvector(v == m, vec), 4);
    C[4 * c] += __builtin_sqrtf(A[4 * c]);
  }
}
"""


def _problem(device: str) -> str:
    """Why the kernels here cannot run on ``device``, a CPU with clang; empty where they can.

    A small kernel is compiled, loaded, run and its result compared.
    """
    source = Tensor([float(i * i) for i in range(16)], device=device).realize()
    try:
        out = [empty(16, like=source)]
        values = kernel("sample", _SAMPLE, out, [source], {"COUNT": 4}, {})[0].tolist()
    except Exception as error:  # a compiler can fail in any way that a process can
        return f"{type(error).__name__}: {error}".splitlines()[0]
    squares = [float(i * i) for i in range(16)]
    expected = [
        squares[4 * (i % 4) + i // 4] + (squares[i] >= 8) + (i if i % 4 == 0 else 0)
        for i in range(16)
    ]
    return "" if values == expected else "a compiled sample computes wrongly"


@cache
def supported(device: str) -> bool:
    """Whether ``device`` is a CPU that can run the kernels here.

    Warns once where it is a CPU with clang and cannot; the plain Tensor operations that take over
    are several times slower.
    """
    if not is_cpu(device) or not isinstance(Device[device].renderer, ClangRenderer):
        return False
    if found := _problem(device):
        warnings.warn(f"{SLOW} ({found})", stacklevel=2)
    return not found


#: What to tell a user whose compiler cannot build the kernels.
SLOW = "the C compiler cannot build the fast kernels; training takes several times as long"


def empty(*shape: int, like: Tensor) -> Tensor:
    """A buffer for a kernel to write, with the dtype and on the device of ``like``."""
    return Tensor.empty(*shape, dtype=like.dtype, device=like.device)


def text(name: str, source: str, sizes: Iterable[str], constants: Mapping[str, int]) -> str:
    """C for clang: the kernel ``name`` of ``source``, as ``kernel`` has it."""
    defines = {key: str(value) for key, value in constants.items()}
    defines |= {size: f"((long)sizes[{i}])" for i, size in enumerate(sizes)}
    defines["KERNEL(...)"] = f"{name}(__VA_ARGS__, const int *restrict sizes)"
    return "".join(f"#define {key} {value}\n" for key, value in defines.items()) + PREAMBLE + source


def kernel(
    name: str,
    source: str,
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    sizes: Mapping[str, int],
    constants: Mapping[str, int],
    gradients: Gradients | None = None,
) -> list[Tensor]:
    """``outputs`` as the kernel ``name`` writes them from ``inputs``: C ``source``.

    ``source`` must define one function ``KERNEL``, before any function that is not inlined, that
    takes outputs and inputs as ``float *`` in this order. It is compiled anew for other
    ``constants``, but not for other ``sizes``: those it reads from memory, through a parameter
    ``sizes`` of KERNEL that any other function which needs one must be given.
    """
    label = "_".join([name, *(str(value) for value in constants.values())])
    code = UOp(Ops.SOURCE, arg=text(label, source, sizes, constants))

    def program(loaded: Sequence[UOp], *arguments: UOp) -> UOp:
        buffers = [*arguments, loaded[0].buf_uop]
        n, places = len(outputs), tuple(range(len(buffers)))
        target = Device["CPU"].renderer.target
        info = ProgramInfo(label, globals=places, outs=places[:n], ins=places[n:], target=target)
        sink = UOp.sink(*buffers, arg=KernelInfo(label, estimates=Estimates()))
        return UOp(Ops.PROGRAM, src=(sink, UOp(Ops.LINEAR, src=(*buffers, sink)), code), arg=info)

    arguments, numbers = (*outputs, *inputs), [*sizes.values()]
    return sized_kernel(program, *arguments, sizes=numbers, gradients=gradients)[: len(outputs)]
