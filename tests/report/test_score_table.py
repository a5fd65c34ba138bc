from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from metricforge.report import print_scores

BOLD_TEXT = r"\x1b\[1m *([^\x1b]*)"


def printed(rows, *, colour: bool = False, title: str | None = None) -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=colour, color_system="standard" if colour else None)
    print_scores(console, rows, title=title)
    return stream.getvalue().splitlines()


ROWS = {"raw pixels": {"recall@1": 0.5904, "nmi": 0.8}, "trained [x]": {"recall@1": 0.8296, "nmi": 0.7}}


def line_of(lines: list[str], name: str) -> str:
    return next(line for line in lines if name in line)


def test_scores_are_percentages_with_one_decimal_under_their_names():
    lines = printed(ROWS, title="Unseen characters")
    assert "Unseen characters" in lines[0]
    assert line_of(lines, "recall@1").index("recall@1") < line_of(lines, "recall@1").index("nmi")
    assert line_of(lines, "raw pixels").split("│")[1:4] == [" raw pixels  ", "     59.0 ", " 80.0 "]
    assert line_of(lines, "trained [x]").split("│")[1:4] == [" trained [x] ", "     83.0 ", " 70.0 "]


def test_the_best_of_each_column_alone_is_bold():
    lines = printed(ROWS, colour=True)
    raw, trained = line_of(lines, "raw pixels"), line_of(lines, "trained [x]")
    assert re.findall(BOLD_TEXT, raw) == ["80.0"]
    assert re.findall(BOLD_TEXT, trained) == ["83.0"]


def test_a_single_row_has_nothing_to_be_better_than():
    assert not re.findall(BOLD_TEXT, line_of(printed({"trained": {"nmi": 0.5}}, colour=True), "trained"))


def test_a_score_that_a_row_lacks_is_a_dash():
    lines = printed({"a row": {"recall@1": 0.5}, "another": {"nmi": 0.25}})
    assert [cell.strip() for cell in line_of(lines, "a row").split("│")[2:4]] == ["50.0", "–"]
    assert [cell.strip() for cell in line_of(lines, "another").split("│")[2:4]] == ["–", "25.0"]


def test_no_rows_are_refused():
    with pytest.raises(ValueError, match="at least one name"):
        printed({})
