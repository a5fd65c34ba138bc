"""The curves of runs, as a report and the live page draw them."""

from __future__ import annotations

from types import SimpleNamespace

from metricforge.run_report.training_part import training_charts


def run_with(name: str, scores: dict[str, float]) -> SimpleNamespace:
    lines = [
        {"iteration": 10 * epoch, "epoch": epoch, "of": "validation classes", "scores": scores} for epoch in (1, 2)
    ]
    return SimpleNamespace(name=name, history=lines)


def validation_lines(*runs: SimpleNamespace) -> list[tuple[str, int]]:
    (chart,) = [chart for chart in training_charts(runs) if chart.key == "validation"]
    return [(line.name, line.colour) for line in chart.lines]


def test_the_first_score_of_each_kind_is_drawn_and_those_of_a_space_only_without_it():
    run = run_with("a", {"recall@1": 0.5, "recall@2": 0.6, "nmi": 0.7, "binary/recall@1": 0.4})
    assert validation_lines(run) == [("recall@1", 0), ("nmi", 1)]
    learned = run_with("b", {"euclidean/recall@1": 0.5, "euclidean/map@r": 0.3, "reranked/recall@1": 0.6, "nmi": 0.7})
    assert [name for name, _ in validation_lines(learned)] == [
        "euclidean/recall@1",
        "euclidean/map@r",
        "reranked/recall@1",
        "nmi",
    ]


def test_no_two_scores_of_two_runs_have_one_colour():
    one, other = run_with("a", {"recall@1": 0.5, "nmi": 0.7, "map@r": 0.2}), run_with("b", {"recall@1": 0.6})
    colours = [colour for _, colour in validation_lines(one, other)]
    assert len(set(colours)) == 4
