"""What a report says, and that no value can become markup."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from mnist_sweep.analysis.sources import join
from mnist_sweep.analysis.study import split_studies
from mnist_sweep.config import FIELDS, HPConfig
from mnist_sweep.devices import find_compiler
from mnist_sweep.figures import draw as figures
from mnist_sweep.figures.style import styled
from mnist_sweep.report import render_report, write_report
from mnist_sweep.report.markup import element, json_text
from mnist_sweep.report.review import warnings, worth
from mnist_sweep.results.file import ResultsFile
from mnist_sweep.trial import DatasetConfig, TrialResult
from tests import synthetic
from tests.report_helpers import Page, page, source, study

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`<!--&amp;${7}"


def page_of(files: Sequence[ResultsFile]) -> Page:
    return Page(render_report(join(files)))


def warned(results: Sequence[TrialResult]) -> str:
    (only,) = split_studies(results)
    return " ".join(warnings(only))


def said(results: Sequence[TrialResult]) -> str:
    (only,) = split_studies(results)
    return " ".join(worth(only))


# What it says


def test_it_warns_of_a_choice_on_the_test_set_and_says_what_else_to_do() -> None:
    shown = warned(synthetic.quickstart())
    assert "Chosen on the test set, for want of a validation split" in shown
    assert "validation_size: 5000" in shown
    assert shown in study("quickstart").text
    assert warned(synthetic.phase2()) == ""
    assert "Before you rely on it" not in study("phase2").text
    assert "Chosen on 5,000 validation images" in study("phase2").text


def test_it_does_not_warn_of_a_choice_that_was_not_made() -> None:
    rows = synthetic.sweep(synthetic.grid(HPConfig(), range(3)))
    assert warned(rows) == ""


def test_it_warns_of_single_seeds() -> None:
    results = synthetic.phase2(seeds=1)
    assert "One seed for each configuration: the intervals are over the 5,000 val" in warned(
        results
    )
    assert "The others could not be compared with it" in said(results)


def test_it_warns_of_trials_that_failed_diverged_or_are_missing() -> None:
    results = synthetic.phase2()[:-1]
    results += [synthetic.broken(HPConfig(lr=0.5, seed=s), "diverged",
                                 synthetic.WITH_VALIDATION) for s in range(3)]  # fmt: skip
    results.append(synthetic.broken(HPConfig(lr=0.1), "failed", synthetic.WITH_VALIDATION))
    shown = warned(results)
    assert "3 trials missing: 2 of 39 configurations have fewer seeds" in shown
    assert "3 trials diverged, in 1 configuration;" in shown
    assert "1 trial failed: MemoryError: out of memory (1)." in shown


def test_it_warns_of_several_devices_and_versions() -> None:
    results = [
        replace(result, device=f"GPU{i % 2}", tinygrad_version=f"0.{i % 3}")
        for i, result in enumerate(synthetic.quickstart())
    ]
    shown = warned(results)
    assert "several devices (GPU0, GPU1)" in shown
    assert "several versions of tinygrad (0.0, 0.1, 0.2)" in shown


def test_notes_on_damaged_files_are_repeated() -> None:
    files = [source(synthetic.quickstart(), notes=["study.csv:7: left out"])]
    html = render_report(join(files))
    assert "study.csv:7: left out" in Page(html).text


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_without_a_finished_trial_there_is_a_report_all_the_same(status: str) -> None:
    assert "No trial has finished yet." in page([]).text
    results = [synthetic.broken(HPConfig(seed=seed), status) for seed in range(2)]
    text = page(results).text
    assert "No trial finished well" in text
    assert "Recommended" not in text


def test_one_trial_alone_makes_a_report() -> None:
    text = page(synthetic.sweep([HPConfig()])).text
    assert "It is the only configuration." in text
    assert "1 trial of 1 configuration" in text


def test_hyperparameters_say_what_they_are_to_whoever_points_at_them() -> None:
    html = render_report(join([source(synthetic.sweep([HPConfig(lr=lr) for lr in (1e-3, 3e-3)]))]))
    (data,) = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])  # type: ignore[index]
    told = {c["key"]: c["doc"] for c in data["columns"] if c["kind"] == "choice"}
    assert told
    assert told == {name: FIELDS[name].metadata["doc"] for name in told}
    assert f'title="{FIELDS["lr"].metadata["doc"]}"' in html


def test_the_environment_is_that_of_the_rows() -> None:
    results = [
        replace(
            result,
            device="CUDA" if i else "CPU",
            tinygrad_version="0.14.0",
            mnist_sweep_version="0.1.0",
            finished_at=f"2026-11-24T16:{10 + i}:05+00:00",
            train_seconds=600.0,
        )
        for i, result in enumerate(synthetic.quickstart())
    ]
    text = " ".join(page(results).text.partition("Environment")[2].split())
    assert "study.csv (8 trials)" in text
    assert "CUDA (7 trials); CPU (1 trial)" in text
    assert "tinygrad 0.14.0" in text
    assert "2026-11-24 16:10 to 16:17 UTC" in text
    assert "training time 80 min of wall time, 8 trials added up" in text


def test_the_environment_has_the_machine_that_wrote_the_report_and_says_that_it_is_that() -> None:
    text = study("quickstart").text.partition("this report was written on")[2]
    processor, python, numpy, compiler, note = " ".join(text.split()).split("; ")
    assert processor
    assert (python, numpy) == (f"Python {platform.python_version()}", f"numpy {np.__version__}")
    assert (find_compiler() is None) == (compiler == "no C compiler")
    assert note.startswith("this machine need not be the one that trained")


def test_by_a_loss_the_lowest_is_the_best_and_no_per_cent_is_said_of_it() -> None:
    shown = page(synthetic.phase2(), by="train_loss")
    assert "It has the lowest mean of 37 configurations" in shown.text
    assert "Chosen by training loss, which says nothing about images not trained on" in shown.text
    (data,) = json.loads(shown.by_id["data"])
    keys = [column["key"] for column in data["columns"]]
    losses = [row[keys.index("train_loss")] for row in data["rows"]]
    assert losses == sorted(losses)
    assert data["columns"][keys.index("train_loss")]["label"] == "training loss"
    axis = data["axes"][-1]
    assert (axis["key"], axis["scale"]) == ("train_loss", "log loss")
    assert "percent" not in axis
    assert [float(text) for _, text in axis["ticks"]] == pytest.approx(
        [v for v, _ in axis["ticks"]]
    )


def test_ticks_of_axes_with_many_values_are_round_and_as_they_say() -> None:
    configs = [
        HPConfig(lr=3e-5 * 1.8**i, width=round(20 * 1.5**i), depth=1 + i, dropout=0.25 + i / 40)
        for i in range(20)
    ]
    rows = [
        replace(result, train_seconds=1000 + i / 100)
        for i, result in enumerate(synthetic.sweep(configs))
    ]
    (data,) = json.loads(page(rows).by_id["data"])
    ticks = {axis["key"]: axis["ticks"] for axis in data["axes"]}
    texts = {key: [text for _, text in places] for key, places in ticks.items()}
    assert texts["lr"] == ["1e-4", "1e-3", "1e-2", "1e-1", "1"]
    assert texts["width"] == ["100", "1000", "10000"]
    assert texts["depth"] == ["4", "8", "12", "16", "20"]
    assert texts["dropout"] == ["0.3", "0.4", "0.5", "0.6", "0.7"]
    assert texts["train_seconds"] == ["1000", "1000.05", "1000.1", "1000.15", "1000.2"]
    for key, places in ticks.items():
        factor = 100 if "accuracy" in key else 1
        assert [factor * v for v, _ in places] == pytest.approx([float(t) for _, t in places])


# Several files


def test_several_files_make_one_report_where_each_trial_counts_once() -> None:
    phase2 = synthetic.phase2()
    cnn = synthetic.sweep(synthetic.grid(HPConfig(model="cnn"), range(2), lr=[1e-3, 3e-3]))
    shown = Page(
        render_report(
            join([source(phase2, "a.csv"), source(phase2[:9], "b.csv"), source(cnn, "c.csv")])
        )
    )
    assert shown.by_tag["h1"] == ["Sweep report: a, b, c"]
    assert f"{len(phase2) + 4} trials of 39 configurations" in shown.text
    assert shown.by_tag["h2"] == [
        "Studies",
        "Files side by side",
        "MLP on mnist, validation size 5,000",
        "CNN on mnist",
        "Environment",
    ]
    assert {"#study-0", "#study-1"} <= set(shown.values("href"))
    assert [len(part["rows"]) for part in json.loads(shown.by_id["data"])] == [37, 2]


def test_files_stand_side_by_side_with_the_differences_of_what_they_share() -> None:
    def moved(result: TrialResult, by: float) -> TrialResult:
        return replace(result, val_accuracy=(result.val_accuracy or 0.0) + by)

    old = synthetic.sweep(
        synthetic.grid(HPConfig(), range(4), lr=[3e-4, 1e-3, 3e-3, 1e-2]), synthetic.WITH_VALIDATION
    )
    new = [
        moved(result, 0.0016 * (-1) ** (i // 4) + 2e-4 * (i % 2)) for i, result in enumerate(old)
    ]
    diverged = synthetic.broken(new[15].trial.config, "diverged", synthetic.WITH_VALIDATION)
    files = [source(old, "old.csv"), source([*new[2:15], diverged], "new.csv")]
    shown = page_of(files)
    (table,) = [t for t in shown.by_tag["table"] if "old.csv" in t and "difference" in t]
    assert "MLP on mnist, validation size 5,000: old.csv and new.csv" in shown.by_tag["h3"]
    differences = {cell for cell in shown.by_tag["td"] if re.match(r"[+-]\d|a seed", cell)}
    assert differences == {
        "+0.17 ± 0.13, better", "-0.15 ± 0.02, worse", "+0.17 ± 0.02, better", "a seed diverged",
    }  # fmt: skip
    assert [seeds in table for seeds in ("2 common seeds", "4 common seeds")] == [True, True]


def test_files_that_share_nothing_say_so_and_one_file_has_nobody_beside_it() -> None:
    apart = [source(synthetic.sweep([HPConfig(lr=lr)]), f"{lr}.csv") for lr in (1e-3, 3e-3)]
    assert "No configuration is in two of these files." in page_of(apart).text
    assert "side by side" not in study("quickstart").text


def test_files_that_are_called_alike_are_told_apart_by_their_folders() -> None:
    rows = synthetic.quickstart()
    shown = page_of([source(rows, f"{folder}/results.csv") for folder in "ab"])
    assert "a/results.csv and b/results.csv" in shown.text


# Its form


@pytest.mark.parametrize("name", ["quickstart", "phase2", "phase4"])
def test_the_page_refers_to_nothing_outside_itself(name: str) -> None:
    shown = study(name)
    outside_figures = [(tag, a) for tag, a in shown.elements if tag != "img"]
    assert not re.search(r"https?:|@import|url\(", str(outside_figures) + shown.by_tag["style"][0])
    assert "src" not in {key for _, attributes in outside_figures for key in attributes}
    ids = shown.values("id")
    assert len(ids) == len(set(ids))
    links = [href[1:] for href in shown.values("href") if href.startswith("#")]
    assert set(links) <= set(ids)


def test_figures_are_drawings_that_refer_to_nothing_outside_themselves() -> None:
    for svg in study("phase2").figures():
        root = ElementTree.fromstring(svg)
        assert root.tag.endswith("}svg")
        values = [value for node in root.iter() for value in node.attrib.values()]
        ids = {node.get("id") for node in root.iter()}
        hrefs = [v for node in root.iter() for k, v in node.attrib.items() if k.endswith("href")]
        inside = re.findall(r"url\(([^)]+)\)", str(values)) + hrefs
        assert inside
        assert {name.removeprefix("#") for name in inside} <= ids
        assert not {node.tag.rpartition("}")[2] for node in root.iter()} & {"script", "image"}


def test_the_policy_allows_this_script_and_no_other() -> None:
    shown = study("quickstart")
    data, script = shown.by_tag["script"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (value for value in shown.values("content") if "default-src" in value)
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    assert json.loads(data)


def test_every_figure_is_in_it_and_speaks() -> None:
    shown = study("phase2")
    (drawn,) = split_studies(synthetic.phase2(), title="study")
    with styled():
        wanted = [figure for _, figure in figures.draw_study(drawn)]
    assert len(shown.figures()) == sum(isinstance(figure, Figure) for figure in wanted)
    labels = shown.values("alt")
    assert len(labels) == len(shown.figures())
    assert labels[0].startswith("Validation accuracy by batch size. Mean and 95 %")
    for reason in wanted:
        if isinstance(reason, str):
            assert reason in shown.text


def test_no_figure_speaks_of_dark_or_light_which_change_places() -> None:
    for name in ("quickstart", "phase2", "phase4"):
        for label in study(name).values("alt"):
            assert not re.search(r"\b(dark|light|black|white|pale)", label, re.IGNORECASE)


def test_the_same_results_give_the_same_page() -> None:
    results = join([source(synthetic.quickstart())])
    assert render_report(results) == render_report(results)


# Values from files are no markup


def hostile(text: str) -> list[TrialResult]:
    results = [
        replace(
            result,
            sweep=text,
            device=text,
            tinygrad_version=text,
            mnist_sweep_version=text,
            finished_at=text,
            trial=replace(result.trial, dataset=DatasetConfig(text.replace(";", ""))),
        )
        for result in synthetic.quickstart()
    ]
    return [*results[1:], TrialResult(text, results[0].trial, "failed", error=text)]


def shape(shown: Page) -> list[tuple[str, list[str]]]:
    """Tags and names of attributes."""
    return [(tag, sorted(attributes)) for tag, attributes in shown.elements]


def test_no_value_of_a_row_becomes_an_element_or_an_attribute() -> None:
    harmless = shape(page(hostile("harmless")))
    shown = page(hostile(HOSTILE))
    assert shape(shown) == harmless
    assert shown.text.count(HOSTILE) >= 5
    assert not [a for _, attributes in shown.elements for a in attributes if a.startswith("on")]


def test_nor_does_the_name_of_a_file() -> None:
    # A file's name holds no slash.
    shown = page(synthetic.quickstart(), HOSTILE.replace("/", "") + ".csv")
    assert shape(shown) == shape(study("quickstart"))


@given(st.text(max_size=30), st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_markup_escapes_whatever_it_is_given(text: str, value: str) -> None:
    (tag, attributes), = Page(element("p", text, title=value)).elements  # fmt: skip
    assert tag == "p"
    assert list(attributes) == ["title"]
    assert "<" not in element("p", text)[3:-4]


@given(st.text(max_size=30) | st.just("</script><!--<script>"))
def test_no_data_ends_the_element_it_is_in(text: str) -> None:
    data = json_text({text: [text, 1.5, None]})
    assert "<" not in data
    assert json.loads(data) == {text: [text, 1.5, None]}


@pytest.mark.parametrize("text", ["$x^{", "$\\frac{$", "a$b$c", "\\", "{}%s"])
def test_formulas_in_names_are_text(text: str, tmp_path: Path) -> None:
    shown = page(synthetic.quickstart(), f"{text}.csv")
    assert f"Sweep report: {text}" in shown.text
    assert any(text in label for label in shown.values("alt"))


def test_a_name_that_is_no_text_can_be_written(tmp_path: Path) -> None:
    write_report(join([source([], "a\udcff.csv")]), tmp_path / "new" / "report.html")
    assert "Sweep report: a?" in (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
