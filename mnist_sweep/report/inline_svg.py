"""matplotlib's figures as SVG elements of one page: own ids, colours for light and for dark.

Every colour becomes a CSS variable with two values, the second of the opposite lightness, so that
dark on light becomes light on dark and what stood out still does.
"""

from __future__ import annotations

import colorsys
import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from mnist_sweep.figures.style import save
from mnist_sweep.report.markup import Html

_COLOUR = re.compile(r"#([0-9a-fA-F]{6})\b")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_HREF = "{http://www.w3.org/1999/xlink}href"
#: With more marks than this a figure takes its time to draw.
_MANY_MARKS = 1_500
#: Lightness that black and white get on a dark page, where pure ones would dazzle.
_DARK_WHITE, _DARK_BLACK = 0.95, 0.1
#: Light colours look more vivid on dark than dark ones on light.
_DARK_SATURATION = 0.75


def inline_svg(figure: Figure, prefix: str) -> Html:
    """``figure`` as an <svg> element whose ids begin with ``prefix``.

    It says its texts (title, subtitle, note) to a screen reader, and takes its colours from the
    variables that ``colour_rules`` declares.
    """
    buffer = io.BytesIO()
    save(figure, buffer, "svg")
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            # A style sheet in here would be one for the whole page.
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    used = {reference for node in root.iter() for reference in _references(node)}
    for node in root.iter():
        _adopt(node, used, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    if sum(node.tag == "use" for node in root.iter()) > _MANY_MARKS:
        width, height = root.get("viewBox", "").split()[2:]
        # Left undrawn until it is near the screen; it then has no size but the one given.
        root.set("style", f"content-visibility: auto; aspect-ratio: {width} / {height}")
    root.set("role", "img")
    root.set("aria-label", " ".join(_sentence(text.get_text()) for text in figure.texts))
    return Html(ElementTree.tostring(root, encoding="unicode"))


def _references(node: ElementTree.Element) -> list[str]:
    found = [node.get(_HREF, "").removeprefix("#")]
    return found + [name for value in node.attrib.values() for name in _REFERENCE.findall(value)]


def _adopt(node: ElementTree.Element, used: set[str], prefix: str) -> None:
    """Make ``node`` one of an HTML page: no namespaces, no id that is not referred to."""
    node.tag = node.tag.rpartition("}")[2]
    node.tail = None
    node.text = None
    if reference := node.attrib.pop(_HREF, None):
        node.set("href", f"#{prefix}{reference[1:]}" if reference.startswith("#") else reference)
    name = node.attrib.pop("id", None)
    if name in used:
        node.set("id", f"{prefix}{name}")
    for key, value in node.attrib.items():
        value = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
        if key == "style":
            value = _COLOUR.sub(lambda match: f"var({_variable(match[1])})", value)
        elif key == "d":
            value = " ".join(value.split())
        node.set(key, value)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", ":")) else f"{text}."


def _variable(colour: str) -> str:
    return f"--svg-{colour.lower()}"


def colour_rules(svgs: str) -> tuple[str, str]:
    """CSS declarations of the colours in ``svgs`` (elements by ``inline_svg``): light, dark."""
    colours = sorted(set(re.findall(r"var\(--svg-([0-9a-f]{6})\)", svgs)))
    light = "".join(f"{_variable(c)}:#{c};" for c in colours)
    return light, "".join(f"{_variable(c)}:{_opposite(c)};" for c in colours)


def _opposite(colour: str) -> str:
    """``colour`` (6 hex digits) with its lightness turned round, for a dark page."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    hue, lightness, saturation = colorsys.rgb_to_hls(*channels)
    turned = _DARK_WHITE - lightness * (_DARK_WHITE - _DARK_BLACK)
    # An off-white is saturated in this model, and as a dark colour it would look it.
    chroma = (max(channels) - min(channels)) / (1 - abs(2 * turned - 1))
    parts = colorsys.hls_to_rgb(hue, turned, min(chroma, saturation * _DARK_SATURATION))
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
