from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from metricforge.report.score_table import print_scores

BOLD_TEXT = r"\x1b\[1m *([^\x1b]*)"


def printed(models, *, colour: bool = False, title: str | None = None) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=colour, color_system="standard" if colour else None)
    print_scores(console, models, title=title)
    return stream.getvalue().splitlines()


MODELS = {"raw pixels": {"recall@1": 0.5904, "nmi": 0.8}, "trained [x]": {"recall@1": 0.8296, "nmi": 0.7}}


def line_of(lines: list[str], name: str) -> str:
    return next(line for line in lines if name in line)


def cells_of(lines: list[str], name: str) -> list[str]:
    return [cell.strip() for cell in re.split("[│┃]", line_of(lines, name))[1:-1]]


def test_scores_are_percentages_with_one_decimal_under_the_models_names():
    lines = printed(MODELS, title="Unseen characters")
    assert "Unseen characters" in lines[0]
    assert cells_of(lines, "trained") == ["", "raw pixels", "trained [x]"]
    assert cells_of(lines, "recall@1") == ["recall@1", "59.0", "83.0"]
    assert cells_of(lines, "nmi") == ["nmi", "80.0", "70.0"]


def test_the_best_of_each_score_alone_is_bold():
    lines = printed(MODELS, colour=True)
    assert re.findall(BOLD_TEXT, line_of(lines, "recall@1")) == ["83.0"]
    assert re.findall(BOLD_TEXT, line_of(lines, "nmi")) == ["80.0"]


def test_a_single_model_has_nothing_to_be_better_than():
    assert not re.findall(BOLD_TEXT, line_of(printed({"trained": {"nmi": 0.5}}, colour=True), "nmi"))


def test_a_score_that_a_model_lacks_is_a_dash():
    lines = printed({"one": {"recall@1": 0.5}, "another": {"nmi": 0.25}})
    assert cells_of(lines, "recall@1") == ["recall@1", "50.0", "–"]
    assert cells_of(lines, "nmi") == ["nmi", "–", "25.0"]


def test_seven_scores_fit_eighty_columns():
    models = {"raw pixels": dict.fromkeys("abcdefg", 0.5), "trained, 12 epochs": dict.fromkeys("abcdefg", 0.6)}
    assert max(len(line) for line in printed(models)) < 80


def test_no_models_are_refused():
    with pytest.raises(ValueError, match="at least one name"):
        printed({})


def test_the_smaller_equal_error_rate_is_the_better_one():
    models = {"a": {"eer": 0.1, "binary/eer": 0.4}, "b": {"eer": 0.2, "binary/eer": 0.3}}
    lines = printed(models, colour=True)
    assert re.findall(BOLD_TEXT, line_of(lines, "eer")) == ["10.0"]
    assert re.findall(BOLD_TEXT, line_of(lines, "binary/eer")) == ["30.0"]
