from __future__ import annotations

import matplotlib as mpl
import pytest

from metricforge.errors import MetricForgeError
from metricforge.report import convergence
from metricforge.report.convergence import draw_convergence
from metricforge.run_records.history import History


def run(folder, scores=("recall@1", "map@r"), validations=3):
    folder.mkdir(parents=True)
    history = History(folder)
    history.start(0)
    for iteration in range(10, 61, 10):
        history.add_losses(iteration, iteration / 20, [0.1], {"loss": 30 / iteration, "e_m": 1.0})
        if iteration % 20 == 0 and iteration // 20 <= validations:
            history.add_scores(iteration, iteration / 20, dict.fromkeys(scores, iteration / 100), "validation classes")
    return folder


def drawn_lines(monkeypatch, runs, path, **arguments):
    """The figure's lines as they were saved: of the losses, of the score."""
    figures = []
    monkeypatch.setattr(convergence, "save_figure", lambda figure, path: figures.append(figure))
    draw_convergence(runs, path, **arguments)
    return [[(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] for axes in figures[0].axes]


def test_curves_are_the_losses_and_scores_of_the_history(tmp_path, monkeypatch):
    losses, scores = drawn_lines(monkeypatch, [run(tmp_path / "a"), run(tmp_path / "b")], tmp_path / "c.png")
    assert len(losses) == 4  # of each run the readings and their mean
    assert losses[0] == ([10, 20, 30, 40, 50, 60], pytest.approx([3, 1.5, 1, 0.75, 0.6, 0.5]))
    means = [(3 + 1.5) / 2, (3 + 1.5 + 1) / 3, (1.5 + 1 + 0.75) / 3, (1 + 0.75 + 0.6) / 3, (0.75 + 0.6 + 0.5) / 3, 0.55]
    assert losses[1] == ([10, 20, 30, 40, 50, 60], pytest.approx(means))
    assert scores == [([1, 2, 3], pytest.approx([20, 40, 60]))] * 2


def test_the_score_is_the_one_asked_for_or_one_that_all_runs_have(tmp_path):
    runs = [run(tmp_path / "a"), run(tmp_path / "b", scores=("euclidean/recall@1", "map@r"))]
    assert draw_convergence(runs, tmp_path / "c.png") == {"a": "map@r", "b": "map@r"}
    assert draw_convergence(runs[:1], tmp_path / "d.png") == {"a": "recall@1"}
    assert draw_convergence(runs[:1], tmp_path / "e.png", ["map@r"]) == {"a": "map@r"}
    each = draw_convergence(runs, tmp_path / "f.png", ["euclidean/recall@1", "recall@1"])
    assert each == {"a": "recall@1", "b": "euclidean/recall@1"}
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


def test_by_default_a_score_of_the_last_validation_alone_gives_way_to_one_of_all(tmp_path):
    folder = run(tmp_path / "a", scores=("nmi",))
    History(folder).add_scores(70, 3.5, {"map@r": 0.5, "nmi": 0.5}, "validation classes")
    assert draw_convergence([folder], tmp_path / "c.png") == {"a": "nmi"}


def test_runs_are_told_apart_by_as_much_of_their_path_as_it_takes(tmp_path):
    runs = [run(tmp_path / "x" / "run"), run(tmp_path / "y" / "run"), run(tmp_path / "y" / "other")]
    with mpl.rc_context({"svg.fonttype": "none"}):
        draw_convergence(runs, tmp_path / "c.svg")
        draw_convergence(runs[1:], tmp_path / "d.svg")
    assert all(f">{name}<" in (tmp_path / "c.svg").read_text() for name in ("x/run", "y/run", "y/other"))
    assert all(f">{name}<" in (tmp_path / "d.svg").read_text() for name in ("run", "other"))


def test_twelve_runs_have_twelve_looks(tmp_path):
    looks = {convergence.line_look(number) for number in range(12)}
    assert len(looks) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(scores=["recal@1"]), r'--score: a has no score "recal@1"; did you mean "recall@1"\?'),
        (dict(extra="empty"), "holds no history.jsonl, so it is not the folder of a run"),
        (dict(extra="a"), "a folder is named twice"),
    ],
)
def test_what_cannot_be_drawn_is_said_with_the_way_out(tmp_path, arguments, message):
    runs = [run(tmp_path / "a")]
    if extra := arguments.pop("extra", None):
        runs.append(tmp_path / extra)
    with pytest.raises(MetricForgeError, match=message):
        draw_convergence(runs, tmp_path / "c.png", **arguments)


def test_what_the_chosen_weights_score_on_the_test_is_no_point_of_a_validation_curve(tmp_path, monkeypatch):
    folder = run(tmp_path / "a")
    History(folder).add_scores(60, 3, {"recall@1": 0.99}, "test classes")
    _, score_lines = drawn_lines(monkeypatch, [folder], tmp_path / "c.png", scores=["recall@1"])
    assert 99 not in score_lines[0][1]
    assert len(score_lines[0][1]) == 3


def test_runs_without_a_validation_or_a_common_score_are_refused(tmp_path):
    with pytest.raises(MetricForgeError, match="a: has no scores in its history yet"):
        draw_convergence([run(tmp_path / "a", validations=0)], tmp_path / "c.png")
    with pytest.raises(
        MetricForgeError, match=r"the runs have no score in common, so name one for each with --score \(b: x; c: y\)"
    ):
        draw_convergence([run(tmp_path / "b", ("x",)), run(tmp_path / "c", ("y",))], tmp_path / "c.png")
