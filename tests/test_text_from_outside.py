"""Names that people give to folders, classes, runs and files are printed, drawn and written as they are."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from metricforge import EmbeddingSet, build_runner
from metricforge.cli import main as command
from metricforge.cli.console import open_console
from metricforge.csv_cells import text_cell
from metricforge.evaluation import EvaluationContext, QueryScores
from metricforge.progress_bars import progress_bar
from metricforge.report.class_file import write_class_csv
from metricforge.report.class_table import print_confused_classes, print_worst_classes
from metricforge.report.convergence import draw_convergence
from metricforge.report.retrieval_grid import draw_retrieval_grid
from metricforge.report.score_table import print_scores
from metricforge.similarities import CosineSimilarity

NAMES = [
    "a[/]b",
    "[bold]x",
    "[/bold]",
    "$x^{$",
    "=cmd|' /C calc'!A0",
    ":smile:",
    "_hidden",
    "a&<b>",
    "[link=http://x]y",
]


def printed(show) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=False)
    show(console)
    return console.file.getvalue()


def queries_of(names) -> QueryScores:
    count = len(names)
    labels = np.repeat(np.arange(count), 2)
    value = np.tile([True, False], count)
    nearest = {"": np.roll(labels, 2)}
    return QueryScores(
        np.arange(2 * count), labels, np.ones(2 * count, bool), {"recall@1": value}, nearest, class_names=tuple(names)
    )


@pytest.mark.parametrize("name", NAMES)
def test_tables_show_names_as_they_are(name):
    assert name in printed(lambda console: print_scores(console, {name: {name: 0.5}}, title=f"{name} title"))
    queries = queries_of([name, "other"])
    assert name in printed(lambda console: print_worst_classes(console, queries, "recall@1", 5))
    assert name in printed(lambda console: print_confused_classes(console, queries, "", 5))


@pytest.mark.parametrize("name", NAMES)
def test_a_command_s_console_and_a_bar_print_names_as_they_are(name, capsys):
    open_console().print(f"run {name}")
    assert name in capsys.readouterr().out
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with progress_bar(console, name, 3) as advance:
        advance(1)
    assert name in console.file.getvalue()


def test_no_command_makes_a_console_that_reads_markup():
    folder = Path(command.__file__).parent
    sources = {path.name: path.read_text() for path in folder.rglob("*.py")}
    opened = [name for name, source in sources.items() if re.search(r"(?<!\w)Console\(", source)]
    assert opened == ["console.py"]


@pytest.mark.parametrize(
    ("text", "cell"),
    [("=cmd", "'=cmd"), ("+1", "'+1"), ("-a", "'-a"), ("@x", "'@x"), ("\tq", "'\tq"), ("a=b", "a=b"), ("", "")],
)
def test_what_a_spreadsheet_would_compute_gets_an_apostrophe(text, cell):
    assert text_cell(text) == cell


def test_a_csv_of_classes_holds_no_formula(tmp_path):
    write_class_csv(tmp_path / "classes.csv", queries_of(["=1+1", "plain"]))
    rows = list(csv.DictReader((tmp_path / "classes.csv").open(newline="")))
    assert [row["class"] for row in rows] == ["'=1+1", "plain"]
    assert [row["recall@1"] for row in rows] == ["0.5", "0.5"]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_drawn_whatever_runs_and_classes_are_called(tmp_path, ending):
    names = [name.replace("/", "|") for name in NAMES]
    for name in names:
        (tmp_path / name).mkdir()
        lines = [{"iteration": 1, "epoch": 1.0, "losses": {"loss": 1.0}, "lr": [0.1]}]
        lines += [{"iteration": 1, "epoch": 1.0, "scores": {"recall@1": 0.5}}]
        (tmp_path / name / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    draw_convergence([tmp_path / name for name in names], tmp_path / f"runs.{ending}")
    embeddings = np.random.default_rng(0).normal(size=(2 * len(names), 4)).astype(np.float32)
    labels = np.repeat(np.arange(len(names)), 2)
    images = EmbeddingSet(embeddings, labels, np.arange(len(labels)), tuple(names))
    context = EvaluationContext(images, CosineSimilarity())
    for title in NAMES:
        draw_retrieval_grid(
            lambda query: Image.new("RGB", (8, 8)),
            context,
            list(range(len(labels))),
            tmp_path / f"grid.{ending}",
            neighbours=2,
            title=title,
        )
    assert (tmp_path / f"grid.{ending}").stat().st_size > 1000


@pytest.mark.parametrize("name", ["a[", "[bold]x", "[red]y[", "$x^{$", ":smile:"])
def test_a_run_in_a_folder_of_any_name_is_said_as_it_is(tiny_config, tmp_path, capsys, name):
    tiny_config["train_cfg"]["max_epochs"] = 1
    runner = build_runner(tiny_config, work_dir=tmp_path / name / "]b", device="cpu")
    runner.describe()
    runner.train()
    assert str(tmp_path / name / "]b") in capsys.readouterr().out.replace("\n", "")
