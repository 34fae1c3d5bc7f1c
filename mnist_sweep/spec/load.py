"""The sweep spec: a YAML file -> a validated SweepSpec with its trials.

A spec is the familiar subset of a W&B sweep file, plus named grids, seeds and exclusions. Every
problem of a file is reported at once, each with its line. Expansion is a pure function of the
file (and of the results that ``from_results`` names): same file, same trials, same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias

from mnist_sweep import search
from mnist_sweep.config import FIELD_NAMES, HPConfig
from mnist_sweep.errors import UserError
from mnist_sweep.spec.fields import FieldReader
from mnist_sweep.spec.overrides import apply_overrides, set_data_dir
from mnist_sweep.spec.search_space import Domain, Exclusion, Point, Search, space_size
from mnist_sweep.spec.sections import (
    KEYS_OF_BASE,
    SPEC_KEYS,
    read_choice,
    read_dataset,
    read_model,
    read_name,
    read_seeds,
)
from mnist_sweep.spec.yaml_lines import (
    Place,
    Problems,
    Scalar,
    Table,
    check_keys,
    printable,
    read_file,
    read_scalar,
    read_table,
    read_whole,
)
from mnist_sweep.trial import DatasetConfig, Trial

MAX_TRIALS = 100_000
MAX_EVALS_PER_EPOCH = 10_000
MAX_SAMPLING_SEED = 2**32 - 1

#: What trials can be compared by: the names of columns of results.csv.
METRIC_NAMES = ("val_accuracy", "test_accuracy", "train_accuracy", "train_loss")

Goal: TypeAlias = Literal["maximize", "minimize"]
_GOALS: Mapping[str, Goal] = {"maximize": "maximize", "minimize": "minimize"}
_METHODS = ("grid", "random")
_RESULTS_EXAMPLE = "{file: RESULTS.csv, top: 8}"


@dataclass(frozen=True)
class Metric:
    """What to compare trials by: one of METRIC_NAMES, and which end of it is the better one."""

    name: str
    goal: Goal


@dataclass(frozen=True)
class SweepSpec:
    """A validated sweep.

    ``trials`` are distinct (by trial_id) and in the order of the file: grid by grid, the last
    parameter of a grid changing fastest, seeds innermost. ``warnings`` are lines for a person,
    ``resolved`` is the spec as YAML.
    """

    name: str
    model: str
    dataset: DatasetConfig
    metric: Metric
    evals_per_epoch: int
    search: search.Search
    warnings: tuple[str, ...] = ()
    resolved: str = ""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of the first proposal."""
        return tuple(self.search.propose({}))


#: (results file, n, metric) -> the n best configurations of an earlier sweep, best first.
BestConfigs: TypeAlias = Callable[[Path, int, Metric], Sequence[HPConfig]]


def load_spec(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    data_dir: str | None = None,
    best_configs: BestConfigs | None = None,
) -> SweepSpec:
    """Read, change, check and expand the sweep spec at ``path``.

    ``overrides`` are ``key=value`` strings as ``--set`` takes them, ``data_dir`` replaces the data
    set's folder, and ``best_configs`` reads the file that ``from_results`` names. Raises SpecError,
    which holds every problem found, each as ``file.yaml:LINE: key: message``.
    """
    problems = Problems()
    root = read_file(path, problems)
    apply_overrides(root, overrides, problems)
    if data_dir is not None:
        set_data_dir(root, data_dir, problems)
    return _SpecReader(root, path, problems, best_configs).read()


class _SpecReader:
    """Reads one spec, noting what is wrong with each section, and expands it."""

    def __init__(
        self, root: Table, path: Path, problems: Problems, best_configs: BestConfigs | None
    ) -> None:
        self._root = root
        self._path = path
        self._problems = problems
        self._best_configs = best_configs
        self._warnings: list[str] = []

    def read(self) -> SweepSpec:
        check_keys(self._root, SPEC_KEYS, self._problems, KEYS_OF_BASE)
        name = read_name(self._root, self._path, self._problems)
        model = read_model(self._root, self._problems)
        dataset = read_dataset(self._root, self._problems)
        seeds = read_seeds(self._root, self._problems, MAX_TRIALS)
        metric = self._metric(dataset)
        evals_per_epoch = self._whole("evals_per_epoch", 1, MAX_EVALS_PER_EPOCH) or 1
        fields = FieldReader(model, self._problems)
        space = self._search(fields, model, metric)
        exclude = self._root.entries.get("exclude")
        exclusions = [] if exclude is None else fields.exclusions(exclude)
        self._check_size(space, len(seeds))
        self._problems.raise_if_any()
        assert model is not None
        assert dataset is not None
        assert metric is not None
        points = self._points(space, exclusions)
        self._problems.raise_if_any()
        return SweepSpec(
            name,
            model,
            dataset,
            metric,
            evals_per_epoch,
            search.Listed(_trials(points, model, seeds, dataset)),
            tuple(self._warnings),
        )

    def _problem(self, key: str, message: str) -> None:
        place = self._root.key_places.get(key, self._root.place)
        self._problems.add(place, f"{key}: {message}")

    def _whole(self, key: str, low: int, high: int) -> int | None:
        """The whole number at a key of the spec; None if it is missing or wrong."""
        node = self._root.entries.get(key)
        return None if node is None else read_whole(node, key, low, high, self._problems)

    def _metric(self, dataset: DatasetConfig | None) -> Metric | None:
        validated = dataset is not None and dataset.validation_size > 0
        node = self._root.entries.get("metric")
        if node is None:
            return Metric("val_accuracy" if validated else "test_accuracy", "maximize")
        if isinstance(node, Scalar):
            node = Table(node.place, {"name": node}, {"name": node.place})
        table = read_table(
            node, "metric", self._problems, example="{name: test_accuracy, goal: maximize}"
        )
        if table is None:
            return None
        check_keys(table, ("name", "goal"), self._problems)
        goal = None
        if "goal" in table.entries:
            goal = read_choice(table.entries["goal"], "metric.goal", tuple(_GOALS), self._problems)
        if "name" not in table.entries:
            self._problem("metric", f"has no name; add one of {', '.join(METRIC_NAMES)}")
            return None
        name = read_choice(table.entries["name"], "metric", METRIC_NAMES, self._problems)
        if name is None:
            return None
        if name == "val_accuracy" and dataset is not None and not validated:
            self._problems.add(
                table.entries["name"].place,
                "metric: val_accuracy needs a validation split; write dataset: {name: mnist, "
                "validation_size: 5000}, or use test_accuracy",
            )
        return Metric(name, _GOALS[goal or ("minimize" if name == "train_loss" else "maximize")])

    def _search(self, fields: FieldReader, model: str | None, metric: Metric | None) -> Search:
        """What to try, from ``base``, ``method``, ``parameters``, ``grids``, ``from_results``."""
        base_table = self._table("base", "{lr: 1e-3}")
        base = {} if base_table is None else fields.base(base_table)
        method = self._method()
        tables = self._space_tables()
        spaces = [
            fields.space(table, label, random=method != "grid") for label, table in tables.items()
        ]
        if base_table is not None:
            self._check_base_is_used(base_table, tables)
        starts = [_point(HPConfig(model=model or HPConfig.model))]
        if "from_results" in self._root.entries:
            starts = self._best_points(model, metric)
        count = self._count(spaces) if method == "random" else None
        sampling_seed = self._whole("sampling_seed", 0, MAX_SAMPLING_SEED) or 0
        return Search(starts, base, spaces or [{}], count, sampling_seed)

    def _table(self, key: str, example: str) -> Table | None:
        node = self._root.entries.get(key)
        return None if node is None else read_table(node, key, self._problems, example)

    def _method(self) -> str | None:
        """``grid`` or ``random``, and whether the other keys go with it."""
        keys = self._root.entries
        method = "grid"
        if "method" in keys:
            choice = read_choice(keys["method"], "method", _METHODS, self._problems)
            if choice is None:
                return None
            method = choice
        if method == "random":
            for key in ("grids", "from_results"):
                if key in keys:
                    self._problem(
                        key, "does not go with method: random, which draws from parameters:"
                    )
            for key in ("parameters", "count"):
                if key not in keys:
                    self._problem("method", f"random needs {key}:; add it")
        else:
            for key in ("count", "sampling_seed"):
                if key in keys:
                    self._problem(key, "is only for method: random; add that or remove this")
        return method

    def _space_tables(self) -> dict[str, Table]:
        """The mappings that span a search space, by their dotted path in the spec."""
        tables = {}
        parameters = self._table("parameters", "{lr: [1e-3, 3e-3]}")
        grids = self._table("grids", "{lr_opt: {lr: [1e-3, 3e-3], opt: [adam, sgd]}}")
        if parameters is not None:
            tables["parameters"] = parameters
        if "grids" in self._root.entries:
            for other in ("parameters", "from_results"):
                if other in self._root.entries:
                    self._problem("grids", f"does not go with {other}:; keep one of them")
        if grids is not None:
            if not grids.entries:
                self._problem("grids", "names no grid; fill it or remove it")
            for name, node in grids.entries.items():
                label = f"grids.{printable(name)}"
                table = read_table(node, label, self._problems, "{lr: [1e-3, 3e-3]}")
                if table is not None:
                    tables[label] = table
        return tables

    def _check_base_is_used(self, base: Table, tables: Mapping[str, Table]) -> None:
        """A value of ``base`` that every search space replaces is a mistake."""
        for name in base.entries:
            if tables and all(name in table.entries for table in tables.values()):
                swept_in = "parameters" if "parameters" in tables else "every grid"
                self._problems.add(
                    base.key_places[name],
                    f"{printable(name)}: is in base and in {swept_in}; remove it from one of them",
                )

    def _count(self, spaces: Sequence[Mapping[str, Domain]]) -> int:
        """How many points to draw; 0, which is never tried, if that is unknown."""
        count = self._whole("count", 1, MAX_TRIALS)
        size = space_size(spaces[0]) if spaces else None
        if count is not None and size is not None and size < count:
            self._problem(
                "count",
                f"{count} is more than the {size} configurations there are; lower it, or use "
                "method: grid",
            )
        return count or 0

    def _best_points(self, model: str | None, metric: Metric | None) -> list[Point]:
        """The best configurations of an earlier sweep, as ``from_results`` asks for them."""
        table = self._table("from_results", _RESULTS_EXAMPLE)
        if table is None:
            return []
        check_keys(table, ("file", "top"), self._problems)
        for key in ("file", "top"):
            if key not in table.entries:
                self._problem("from_results", f"needs {key}:; write {_RESULTS_EXAMPLE}")
                return []
        file = read_scalar(table.entries["file"], "from_results.file", self._problems)
        top = read_whole(table.entries["top"], "from_results.top", 1, MAX_TRIALS, self._problems)
        if file is None or top is None or model is None or metric is None:
            return []
        return self._read_best(file, top, model, metric)

    def _read_best(self, file: Scalar, top: int, model: str, metric: Metric) -> list[Point]:
        shown = printable(file.text)
        if not file.text.isprintable():
            self._problems.add(file.place, f"from_results: '{shown}' is no path; correct it")
            return []
        if self._best_configs is None:
            self._problem("from_results", "is not supported here; use mnist-sweep run")
            return []
        try:
            configs = self._best_configs(Path(file.text), top, metric)
        except UserError as error:
            self._problems.add(file.place, f"from_results: {'; '.join(str(error).splitlines())}")
            return []
        if not configs:
            self._problems.add(
                file.place, f"from_results: {shown} has no finished trial; run that sweep first"
            )
        for other in sorted({config.model for config in configs} - {model}):
            self._problems.add(
                file.place,
                f"from_results: {shown} holds trials of model {other}, this sweep has model "
                f"{model}; set model: {other} or use other results",
            )
        if 0 < len(configs) < top:
            self._warnings.append(
                f"{file.place}: from_results: {shown} has only {len(configs)} of the {top} "
                "configurations asked for"
            )
        return [_point(config) for config in configs]

    def _check_size(self, search: Search, seeds: int) -> None:
        """Refuse a sweep of too many trials before it is expanded."""
        trials = search.size * seeds
        if trials > MAX_TRIALS:
            keys = ("parameters", "grids", "from_results", "seeds")
            key = next(key for key in keys if key in self._root.entries)
            cut = (
                "shorten the lists, draw with method: random"
                if search.count is None
                else "lower count:"
            )
            self._problem(
                key,
                f"{trials:,} trials ({search.size:,} configurations x {seeds:,} seeds) are more "
                f"than {MAX_TRIALS:,}; {cut} or use fewer seeds",
            )

    def _points(self, search: Search, exclusions: Sequence[tuple[Place, Exclusion]]) -> list[Point]:
        """The points that ``exclude`` leaves; a drawn point that it drops is replaced."""
        matched: set[int] = set()

        def is_kept(point: Point) -> bool:
            hits = {i for i, (_, entry) in enumerate(exclusions) if entry.matches(point)}
            matched.update(hits)
            return not hits

        kept = list(islice(filter(is_kept, search.points()), search.count))
        if not kept:
            self._problem("exclude", "drops every configuration; nothing is left to run")
        elif search.count is not None and len(kept) < search.count:
            self._problem(
                "count",
                f"{search.count} is more than the {len(kept)} configurations found; lower it, "
                "exclude less or widen the ranges",
            )
        if search.count is None:
            self._warnings.extend(
                f"{place}: exclude: {printable(str(entry), 200)} matches no configuration"
                for i, (place, entry) in enumerate(exclusions)
                if i not in matched
            )
        return kept


def _point(config: HPConfig) -> Point:
    """The hyperparameters of a configuration that a spec may set or sweep."""
    return {name: getattr(config, name) for name in FIELD_NAMES if name not in ("model", "seed")}


def _trials(
    points: Sequence[Point], model: str, seeds: Sequence[int], dataset: DatasetConfig
) -> tuple[Trial, ...]:
    """Every point with every seed, seeds innermost; a repeated trial keeps its first position."""
    trials: dict[str, Trial] = {}
    for point in points:
        for seed in seeds:
            trial = Trial(HPConfig(**point, model=model, seed=seed), dataset)
            trials.setdefault(trial.trial_id, trial)
    return tuple(trials.values())
