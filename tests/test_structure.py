"""The house: imports go one way, between modules and between rooms; a module is read at once."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mnist_sweep"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in PACKAGE.rglob("*.py")
}


def _imports(path: Path) -> set[str]:
    """The modules of the package that ``path`` imports, at its top or in a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in typing_only:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & MODULES.keys()


IMPORTS = {name: _imports(path) for name, path in MODULES.items() if path.name != "__init__.py"}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def _in_order(graph: Mapping[str, set[str]]) -> list[str]:
    """From the ground up. Raises CycleError where imports go in a circle."""
    return list(TopologicalSorter(graph).static_order())


def test_no_module_imports_in_a_circle() -> None:
    assert set(_in_order(IMPORTS)) >= set(IMPORTS)


def test_rooms_import_only_what_stands_below_them() -> None:
    rooms: dict[str, set[str]] = defaultdict(set)
    for module, imported in IMPORTS.items():
        rooms[_room(module)] |= {_room(name) for name in imported} - {_room(module), "mnist_sweep"}
    order = _in_order(rooms)
    way = ["models", "config", "trial", "search", "spec", "runner", "cli"]
    assert sorted(way, key=order.index) == way
    way = ["kernels", "training", "executors", "runner"]
    assert sorted(way, key=order.index) == way
    way = ["results", "analysis", "figures", "report", "cli"]
    assert sorted(way, key=order.index) == way


def test_a_spec_and_its_search_need_no_device() -> None:
    """Nothing that checks, plans or reads results imports tinygrad."""
    reached, left = set(), ["mnist_sweep.spec.load", "mnist_sweep.plan", "mnist_sweep.results.file"]
    while left:
        if (module := left.pop()) not in reached:
            reached.add(module)
            left += IMPORTS.get(module, set())
    assert not {"kernels", "training", "executors"} & {_room(module) for module in reached}
    assert not [m for m in reached if "tinygrad import" in MODULES[m].read_text(encoding="utf-8")]


def test_a_module_has_at_most_400_lines() -> None:
    long = {n: len(p.read_text(encoding="utf-8").splitlines()) for n, p in MODULES.items()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_style_and_types_of_every_script_are_checked() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))[
        "tool"
    ]
    scripts = {
        f"scripts/{path.name}"
        for path in (PACKAGE.parent / "scripts").iterdir()
        if path.is_file() and path.read_text(encoding="utf-8").startswith("#!/usr/bin/env python3")
    }
    assert set(settings["ruff"]["extend-include"]) == scripts
    assert set(settings["mypy"]["files"]) == {"mnist_sweep", "tests", *scripts}
