"""W&B's words for what a spec says, put into ours before the spec is read."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import product

from mnist_sweep.aliases import layer_number, meant
from mnist_sweep.config import SPEC_FIELDS, HPConfig, parse_number
from mnist_sweep.models import MODELS
from mnist_sweep.spec.draft import MAX_TRIALS, Draft
from mnist_sweep.spec.nodes import Items, Node, Place, Scalar, Table, printable
from mnist_sweep.spec.yaml_lines import parse

#: Sections of a W&B file that say how and where a program of the user's is started.
_SECTIONS = (
    "program", "project", "entity", "command", "description", "controller", "settings", "job",
    "image_uri", "queue", "resource", "version", "prior_runs", "kind", "apiVersion",
)  # fmt: skip
#: What is no hyperparameter here because it never changes, and how it is.
_FIXED: Mapping[str, str] = {
    "loss": "cross_entropy", "dataset": "mnist", "input_size": "784 28", "channels": "1",
    "classes": "10", "beta1": "0.9", "beta2": "0.999", "epsilon": "1e-08", "dampening": "0",
    "shuffle": "true yes 1", "bias": "true yes 1", "amsgrad": "false no 0",
    "augmentation": "false no 0 none", "early_stopping": "false no 0 none",
}  # fmt: skip
#: What says the like of it.
_INSTEAD = {
    "dataset": "; for other images of 28 x 28 write the key dataset: {dir: FOLDER}",
    "augmentation": "; shift:, rotation: and scale: distort the images",
}
#: What the optimizers "momentum" and "nesterov" are short for.
_MOMENTA = {"momentum": "sgd with momentum", "nesterov": "sgd with Nesterov's momentum"}


def translate(draft: Draft) -> None:
    """Put all of ``draft.root`` into our words; what is in them already stays."""
    root = draft.root
    for key in [key for key in root.entries if key in _SECTIONS]:
        section = root.pop(key)
        if fixed := ", ".join(_arguments(section) if key == "command" else ()):
            wrong = f"sets {fixed}, which is not read; give it in base:"
            draft.warnings.append(f"{section.place}: command: {wrong}")
        else:
            draft.unused[key] = None
    _rename(draft, root, ("count",))
    if isinstance(base := root.entries.get("base"), Table) and "model" in base.entries:
        model = root.entries.setdefault("model", base.entries["model"])
        root.key_places.setdefault("model", base.key_places["model"])
        if str(model) == str(base.entries["model"]):
            base.pop("model")
    for table in _tables(root):
        _rename(draft, table, SPEC_FIELDS)
    parameters, metric = (root.entries.get(key) for key in ("parameters", "metric"))
    if isinstance(parameters, Table):
        flat = list(_flat(parameters))
        parameters.entries = {name: node for name, node, _ in flat}
        parameters.key_places = {name: place for name, _, place in flat}
        _rename(draft, parameters, (*SPEC_FIELDS, "seeds", "model"))
        _join_layers(draft, parameters)
        _lift(draft, parameters)
        if flat and not parameters.entries:
            root.pop("parameters")
    for key in ("target", "impute", "impute_while_running"):
        if isinstance(metric, Table) and key in metric.entries:
            place = metric.pop(key).place
            draft.warnings.append(f"{place}: metric.{key}: no search here acts on it")


def expand(draft: Draft) -> None:
    """Say with several keys what W&B says with one, once ``draft.root`` is all in our words."""
    root = draft.root
    if isinstance(parameters := root.entries.get("parameters"), Table):
        _expand_momenta(draft, parameters)
    if "early_terminate" in root.entries and "rungs" not in root.entries:
        draft.attempt(_make_rungs, draft, root.pop("early_terminate"))


def notes(draft: Draft) -> list[str]:
    """A line on what was read as what, and one on what was not read."""
    for node in draft.root.walk():
        if isinstance(node, Scalar) and node.written.lower() not in ("", node.text):
            draft.read_as[node.written] = node.text
    pairs = ", ".join(f"{printable(other)} as {ours}" for other, ours in draft.read_as.items())
    lines = [f"reads {pairs}"] if pairs else []
    lines += [f"{', '.join(draft.unused)}: nothing that matters here"] if draft.unused else []
    if lines and "model" not in draft.root.key_places:
        others = ", ".join(name for name in MODELS if name != HPConfig.model)
        lines.append(f"model: not given; {HPConfig.model} is taken, not {others}")
    if lines and any("patience" in grid for grid in draft.values["parameters"] or ()):
        lines.append("patience: of the plateau schedule, in steps; no run stops early here")
    return [f"{draft.path}: {line}" for line in lines]


def _arguments(command: Node) -> list[str]:
    """The hyperparameters that a command sets: ``--lr=0.1``, ``--lr 0.1``, ``model.lr=0.1``."""
    words = " ".join(node.text for node in command.walk() if isinstance(node, Scalar)).split()
    names = (re.fullmatch(r"--([\w.-]+)(?:=.*)?|([\w./]+)=.*", word) for word in words)
    known = (meant((n[1] or n[2]).replace("/", "."), SPEC_FIELDS) for n in names if n)
    return [*dict.fromkeys(filter(None, known))]


def _flat(table: Table, prefix: str = "") -> Iterator[tuple[str, Node, Place]]:
    """The parameters of ``table`` and, by dotted names, those of the groups in it.

    W&B has the latter under ``parameters:``, other files without that.
    """
    for name, node in table.entries.items():
        group = node.entries if isinstance(node, Table) else {}
        tables = {key: child for key, child in group.items() if isinstance(child, Table)}
        is_group = len(tables) == len(group) > 0 and not {"value", "values"} & {*group}
        if isinstance(node, Table) and is_group:
            yield from _flat(tables.get("parameters", node), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node, table.key_places[name]


def _tables(root: Table) -> Iterator[Table]:
    """The tables, outside ``parameters``, whose keys are hyperparameters."""
    base, grids, *lists = (root.entries.get(key) for key in ("base", "grids", "exclude", "rungs"))
    nodes = [base, *(grids.entries.values() if isinstance(grids, Table) else ())]
    nodes += [node for each in lists if isinstance(each, Items) for node in each.nodes]
    yield from (node for node in nodes if isinstance(node, Table))


def _rename(draft: Draft, table: Table, names: Collection[str]) -> None:
    """Give the keys of ``table`` our ``names``, in their order."""
    ours: dict[str, str] = {}
    for name, node in table.entries.items():
        new = None if "early" in name.lower() else meant(name, names)
        if new in ("width", "depth") and name != "depth":
            by_layer = [_by_layer(value) for value in _listed(node) or ()]
            new = "width" if any(by_layer) else new
        if new is None or new == name:
            continue
        if new in table.entries or new in ours.values():
            wrong = f"{printable(name)}: means {new}, which is here as well; keep one of them"
            draft.note(table.key_places[name], wrong)
        ours[name] = new
    draft.read_as |= ours
    table.rename(ours)


def _by_layer(node: Node) -> bool:
    """Whether ``node`` is a width for each layer; a text such as "(512, 256)" becomes our form."""
    if not isinstance(node, Scalar):
        return isinstance(node, Items)
    if not re.fullmatch(r"[\[(]?\d\d+([-,x ]+\d\d+)+[\])]?", node.text):
        return False
    node.text = "-".join(re.findall(r"\d+", node.text))
    return True


def _join_layers(draft: Draft, parameters: Table) -> None:
    """Make widths that are named by their layers the values of ``width``, which go together."""
    layers = {name: layer_number(name) for name in parameters.entries}
    names = sorted((n for n in layers if layers[n] is not None), key=lambda n: layers[n] or 0)
    lists = [_listed(parameters.entries[name]) or () for name in names]
    many = math.prod(map(len, lists)) > MAX_TRIALS
    unclear = many or len({*map(layers.get, names)}) < len(names) or not all(lists)
    if len(names) < 2 or unclear or {"width", "depth"} & {*parameters.entries}:
        return
    place = parameters.key_places[names[0]]
    widths = [Items(place, [*nodes]) for nodes in product(*lists)]
    parameters.put("width", Items(place, [*widths]), place)
    for name in names:
        draft.read_as[name] = "a layer of width"
        parameters.pop(name)


def _listed(node: Node) -> list[Node] | None:
    """The values that a parameter lists in any form; None for ranges."""
    if isinstance(node, Table):
        node = node.entries.get("values") or Items(node.place, [node.entries.get("value", node)])
    nodes = node.nodes if isinstance(node, Items) else [node]
    return None if any(isinstance(value, Table) for value in nodes) else nodes


def _lift(draft: Draft, parameters: Table) -> None:
    """Move what is no hyperparameter here to its key, and drop what is so anyway."""
    for name, node in [*parameters.entries.items()]:
        values, place = _listed(node) or (), parameters.key_places[name]
        if name == "model":  # one that there is not says more than that there are several
            values = [v for v in values if not meant(str(v), MODELS)][:1] or values
        texts = [
            value.text.lower() if (number := parse_number(value.text)) is None else f"{number:g}"
            for value in values
            if isinstance(value, Scalar)
        ]
        fixed = meant(name, _FIXED)
        always = _FIXED[fixed].split() if fixed else []
        if fixed and texts and all(meant(text, always) for text in texts):
            draft.unused[name] = None
        elif fixed:
            wrong = f"is always {always[0]} here; remove it{_INSTEAD.get(fixed, '')}"
            draft.note(place, f"{printable(name)}: {wrong}")
        elif name == "seeds" and values and name not in draft.root.entries:
            draft.root.put(name, Items(place, [*values]), place)
        elif name == "model" and len(values) == 1 and name not in draft.root.entries:
            draft.root.put(name, values[0], place)
        else:
            continue
        parameters.pop(name)


def _expand_momenta(draft: Draft, table: Table) -> None:
    """Make optimizers that are named for their momentum ``sgd``, and momentum a parameter."""
    listed, known = _listed(table.entries.get("opt", table)) or [], (*_MOMENTA, "sgd")
    names = [meant(node.text, known) if isinstance(node, Scalar) else None for node in listed]
    if not {*_MOMENTA} & {*names}:
        return
    place = table.key_places["opt"]

    def several(*values: str | Node) -> Items:
        return Items(place, [Scalar(place, v) if isinstance(v, str) else v for v in values])

    def drop(**values: Items) -> None:
        unwanted.append(Table(place, {**values}, dict.fromkeys(values, place)))

    unwanted: list[Node] = []
    others = several(*(node for node, name in zip(listed, names, strict=True) if not name))
    swept = table.entries.get("momentum", several("0.9"))
    table.put("opt", several(*others.nodes, "sgd"), place)
    if _listed(swept) is None:
        wrong = "momentum: beside the optimizers momentum and nesterov list its values: [0.5, 0.9]"
        draft.note(swept, wrong)
    momenta = several(*(n for n in _listed(swept) or () if parse_number(str(n)) != 0))
    if momenta.nodes:
        table.put("momentum", several("0", *momenta.nodes), place)
        if others.nodes:
            drop(opt=others, momentum=momenta)
        if "sgd" not in names:
            drop(opt=several("sgd"), momentum=several("0"))
    if "nesterov" in names and "nesterov" not in table.entries:
        table.put("nesterov", several("0", "1"), place)
        drop(momentum=several("0"), nesterov=several("1"))
        if "momentum" not in names and momenta.nodes:
            drop(opt=several("sgd"), momentum=momenta, nesterov=several("0"))
    excluded = draft.root.entries.get("exclude")
    if isinstance(excluded, Items):
        excluded.nodes += unwanted
    elif excluded is None and unwanted:
        draft.root.put("exclude", Items(place, unwanted), place)
    size = " or ".join(map(str, momenta.nodes))
    for node, name in zip(listed, names, strict=True):
        if isinstance(node, Scalar) and name in _MOMENTA:
            draft.read_as[node.text] = f"{_MOMENTA[name]} {size}".strip()


def _make_rungs(draft: Draft, node: Node) -> None:
    """Make W&B's Hyperband, which stops runs, rungs from which the best go on."""
    label, place = "early_terminate", node.place
    if isinstance(node, Table) and "type" in node.entries:
        node.entries["type"].choice(label, ("hyperband",))
    keys = ("type", "min_iter", "max_iter", "s", "eta", "strict")
    table = draft.table(node, label, "{type: hyperband, min_iter: 3}", keys)
    given = {
        key: table.entries[key].whole(f"{label}.{key}", 2 if key == "eta" else 1, 100_000)
        for key in ("min_iter", "max_iter", "s", "eta")
        if key in table.entries
    }
    eta, most = given.get("eta", 3), given.get("max_iter", HPConfig.epochs)
    sections = [draft.root.entries.get(key) for key in ("parameters", "base")]
    holders = [s for s in sections if isinstance(s, Table) and "epochs" in s.entries]
    values = _listed(holders[0].entries["epochs"]) if holders else [Scalar(place, str(most))]
    epochs = values[0].whole("epochs", 1, 100_000) if values and len(values) == 1 else 0
    if "min_iter" in given and not {"max_iter", "s"} <= {*given}:
        stops = [given["min_iter"] * eta**i for i in range(20)]
    else:
        stops = [given.get("max_iter", epochs) // eta**i for i in range(given.get("s", 2), 0, -1)]
    stops = sorted({stop for stop in stops if 0 < stop < epochs})
    if not stops:
        why = f"each has {epochs} epochs" if epochs else "their epochs differ"
        draft.warnings.append(f"{place}: {label}: stops no run, as {why}")
        return
    for holder in holders:
        holder.pop("epochs")
    rungs = [*(f"{{epochs: {stop}, keep: 1/{eta}}}" for stop in stops), f"{{epochs: {epochs}}}"]
    draft.root.put("rungs", parse(f"[{', '.join(rungs)}]", lambda _: place, draft), place)
    draft.warnings.append(f"{place}: {label}: read as rungs: [{', '.join(rungs)}]")
