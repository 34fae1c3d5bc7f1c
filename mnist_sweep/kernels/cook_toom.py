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
    """C functions for the maps of F(results, taps) and their transposes, NAME and NAME_adjoint.

    Each is ``void NAME(vec *o, const vec *x)`` and needs a macro ``FMA(a, b, c)``.
    """
    data, weights, result = maps(results, taps)
    into = {"data": data, "filter": weights, "result_adjoint": _transposed(result)}
    out_of = {"result": result, "data_adjoint": _transposed(data)}
    out_of["filter_adjoint"] = _transposed(weights)
    return "".join(
        f"INLINE void {name}(vec *o, const vec *x) {{\n  {lines(matrix)}\n}}\n"
        for group, lines in ((into, _by_rows), (out_of, _by_columns))
        for name, matrix in group.items()
    )


def _transposed(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


class _Pair(NamedTuple):
    """Row ``at`` of a matrix is ``even`` + ``odd``, the next one ``even`` - ``odd``."""

    at: int
    even: list[Fraction]
    odd: list[Fraction]


def _pairs(rows: Matrix) -> tuple[list[_Pair], list[int]]:
    """Neighbours that are equal up to signs, and the places of the rows that are in no pair."""
    pairs, single, i = [], [], 0
    while i < len(rows):
        both = list(zip(*rows[i : i + 2], strict=True))
        if len(both[0]) == 2 and all(a in (b, -b) for a, b in both):
            parts = _transposed([[(a + b) / 2, (a - b) / 2] for a, b in both])
            pairs.append(_Pair(i, *parts))
            i += 2
        else:
            single.append(i)
            i += 1
    return pairs, single


def _by_rows(rows: Matrix) -> str:
    """C for o = rows x that computes what two rows share once."""
    pairs, single = _pairs(rows)
    lines = [f"o[{i}] = {_sum(_terms(rows[i], 'x'))};" for i in single]
    for i, even, odd in pairs:
        e, d = f"e{i}", f"d{i}"
        lines += [
            f"vec {e} = {_sum(_terms(even, 'x'))}, {d} = {_sum(_terms(odd, 'x'))};",
            f"o[{i}] = {e} + {d}; o[{i + 1}] = {e} - {d};",
        ]
    return "\n  ".join(lines)


def _by_columns(rows: Matrix) -> str:
    """C for o = rows x that adds and subtracts the x of two paired columns once."""
    pairs, single = _pairs(_transposed(rows))
    lines = [f"vec e{i} = x[{i}] + x[{i + 1}], d{i} = x[{i}] - x[{i + 1}];" for i, *_ in pairs]
    for row, coefficients in enumerate(rows):
        terms = [(coefficients[i], f"x[{i}]") for i in single]
        for i, even, odd in pairs:
            terms += [(even[row], f"e{i}"), (odd[row], f"d{i}")]
        lines.append(f"o[{row}] = {_sum(terms)};")
    return "\n  ".join(lines)


def _terms(coefficients: list[Fraction], name: str) -> list[tuple[Fraction, str]]:
    return [(c, f"{name}[{i}]") for i, c in enumerate(coefficients)]


def _sum(terms: list[tuple[Fraction, str]]) -> str:
    """C for the sum of coefficient * name, with plain terms first, as they need no product."""
    text = ""
    for c, name in sorted((t for t in terms if t[0]), key=lambda t: (t[0] != 1, t[0] != -1)):
        if abs(c) == 1:
            text += f" {'-' if c < 0 else '+'} {name}" if text or c < 0 else name
        elif text:
            text = f"FMA({float(c)!r}f, {name}, {text})"
        else:
            text = f"{float(c)!r}f * {name}"
    return text or "(vec)0"
