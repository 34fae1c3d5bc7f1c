"""HTML whose text is always escaped: markup comes from the functions here alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any, TypeAlias


class Html(str):
    """Text that is markup already. Whatever is not ``Html`` gets escaped."""

    __slots__ = ()


Child: TypeAlias = "str | None"

_VOID = frozenset({"img", "input", "meta"})


def element(tag: str, *children: Child, **attributes: str | int | bool | None) -> Html:
    """``tag`` around ``children``, of which None stands for nothing.

    In the names of ``attributes`` underscores stand for hyphens, and one at the end is dropped
    (``class_``). True is an attribute without a value, False and None are none at all.
    """
    written = []
    for name, value in attributes.items():
        name = name.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{value if isinstance(value, Html) else escape(str(value))}"')
    start = f"<{tag}{''.join(written)}>"
    return Html(start) if tag in _VOID else Html(f"{start}{join(*children)}</{tag}>")


def join(*children: Child) -> Html:
    """``children`` one after the other."""
    return Html("".join(c if isinstance(c, Html) else escape(c) for c in children if c is not None))


def table(label: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Html:
    """A table of texts with ``heads`` over its columns.

    In a box that scrolls by itself, with the keyboard too, so that the page never does sideways.
    """
    head = element("tr", *(element("th", text, scope="col") for text in heads))
    body = (element("tr", *(element("td", cell) for cell in row)) for row in rows)
    content = element("table", element("thead", head), element("tbody", *body))
    return element("div", content, class_="table", role="region", aria_label=label, tabindex=0)


def json_text(data: Any) -> Html:
    """``data`` as JSON for a <script> element: no "<" in it can end that or begin another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return Html(text.replace("<", "\\u003c"))
