"""The bilinear algorithm behind the fast convolutions: its matrices, and C for them.

F(m, r) makes m values of the correlation of m + r - 1 data with r taps by as many products as there
are data (Toom, 1963; Cook, 1966; for convolutional nets Winograd's, by Lavin and Gray, 2016):

    values = result ((filter taps) * (data input))

Data and taps are seen as polynomials; each product is one of their values at a point, the last at
infinity. In two dimensions each map is applied to the columns of a patch, then to its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

#: Small numbers and pairs of a point and its negative: both keep rounding errors small, and the
#: maps of a pair have most of their work in common. The second must be 1 (see fast_convolution).
POINTS = (*map(Fraction, (0, 1, -1, 2, -2)), Fraction(1, 2), Fraction(-1, 2))

Matrix = list[list[Fraction]]


class Maps(NamedTuple):
    """The matrices of F(m, r): of n = m + r - 1 data (n, n), r taps (n, r) and m results (m, n)."""

    data: Matrix
    filter: Matrix
    result: Matrix


def _from_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (x - root), the constant one first."""
    product = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *product], [*product, Fraction(0)]
        product = [a - root * b for a, b in zip(shifted, scaled, strict=True)]
    return product


def maps(results: int, taps: int) -> Maps:
    """The matrices of F(results, taps), exactly."""
    size = results + taps - 1
    points = POINTS[: size - 1]
    data, weights = [], []
    for point in points:
        others = [other for other in points if other != point]
        scale = Fraction(1)
        for other in others:
            scale *= point - other
        data.append([*_from_roots(others), Fraction(0)])
        weights.append([point**k / scale for k in range(taps)])
    data.append(_from_roots(points))
    weights.append([Fraction(k == taps - 1) for k in range(taps)])
    result = [[*(x**i for x in points), Fraction(i == results - 1)] for i in range(results)]
    return Maps(data, weights, result)


def source(results: int, taps: int) -> str:
    """C functions ``void NAME(vec *o, const vec *x)`` for the maps of F(results, taps).

    They are ``data``, ``filter``, ``result`` and their transposes ``data_adjoint``, ...; a macro
    ``FMA(a, b, c)`` must be there.
    """
    data, weights, result = maps(results, taps)
    text = _BUTTERFLY
    for forth, back, matrix in (
        ("data", "data_adjoint", data),
        ("filter", "filter_adjoint", weights),
        ("result_adjoint", "result", _transposed(result)),
    ):
        halves, pairs = _halves(matrix)
        lines = [*_product("o", halves, "x"), *(f"butterfly(o + {i});" for i in pairs)]
        text += _FUNCTION.format(forth, "\n  ".join(lines))
        lines = [f"vec y[] = {{{', '.join(f'x[{i}]' for i in range(len(matrix)))}}};"]
        lines += [f"butterfly(y + {i});" for i in pairs]
        text += _FUNCTION.format(back, "\n  ".join(lines + _product("o", _transposed(halves), "y")))
    return text


_FUNCTION = "INLINE void {}(vec *o, const vec *x) {{\n  {}\n}}\n"
_BUTTERFLY = """
INLINE void butterfly(vec *v) {
  const vec even = v[0], odd = v[1];
  v[0] = even + odd;
  v[1] = even - odd;
}
"""


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


def _halves(rows: Matrix) -> tuple[Matrix, list[int]]:
    """What two rows of a point and its negative have in common is not to be computed twice.

    Where a row and the next are equal up to signs, they become half their sum and half their
    difference, of which one has each column. Returns the new matrix and the first of each two.
    """
    rows, pairs = rows[:], []
    for i in range(len(rows) - 1):
        a, b = rows[i : i + 2]
        if i - 1 not in pairs and all(x in (y, -y) for x, y in zip(a, b, strict=True)):
            rows[i] = [(x + y) / 2 for x, y in zip(a, b, strict=True)]
            rows[i + 1] = [(x - y) / 2 for x, y in zip(a, b, strict=True)]
            pairs.append(i)
    return rows, pairs


def _product(out: str, matrix: Matrix, name: str) -> list[str]:
    """C for out = matrix name; plain terms come first in a sum, as they need no product."""
    lines = []
    for i, row in enumerate(matrix):
        text = ""
        terms = [(c, f"{name}[{k}]") for k, c in enumerate(row) if c]
        for c, term in sorted(terms, key=lambda t: (t[0] != 1, t[0] != -1)):
            if abs(c) == 1:
                text += f" {'-' if c < 0 else '+'} {term}" if text or c < 0 else term
            elif text:
                text = f"FMA({float(c)!r}f, {term}, {text})"
            else:
                text = f"{float(c)!r}f * {term}"
        lines.append(f"{out}[{i}] = {text};")
    return lines
