from __future__ import annotations

import pytest
from PIL import Image

from metricforge.errors import MetricForgeError
from metricforge.evaluation import write_scores
from metricforge.report.score_curves import draw_score_curves


def make_run(folder, scores, dim=64, loss="TripletLoss", **extra):
    folder.mkdir(parents=True)
    write_scores(folder / "scores.json", scores, {})
    model = dict(head=dict(type="EmbeddingHead", dim=dim), loss=dict(type=loss, **extra))
    (folder / "config.py").write_text(f"model = {model!r}\n")
    return folder


def test_scores_are_averaged_over_runs_of_one_value_and_lines_split_by_a_key(tmp_path):
    runs = [
        make_run(tmp_path / "a", {"recall@1": 0.5, "binary/recall@1": 0.2}, 16),
        make_run(tmp_path / "b", {"recall@1": 0.7, "binary/recall@1": 0.6}, 128),
        make_run(tmp_path / "c", {"recall@1": 0.8, "binary/recall@1": 0.6}, 128),
        make_run(tmp_path / "d", {"recall@1": 0.6, "binary/recall@1": 0.1}, 16, "$x^{$\nLoss"),
    ]
    path = tmp_path / "curve.png"
    curves = draw_score_curves(runs, path, "model.head.dim", ["recall@1", "binary/recall@1"], by="model.loss.type")
    assert [curve.name for curve in curves] == [
        "TripletLoss, recall@1",
        "TripletLoss, binary/recall@1",
        "$x^{$\nLoss, recall@1",
        "$x^{$\nLoss, binary/recall@1",
    ]
    assert curves[0].values == [16, 128]
    assert curves[0].means == pytest.approx([50, 75])
    assert (curves[0].lowest, curves[0].highest) == (pytest.approx([50, 70]), pytest.approx([50, 80]))
    assert Image.open(path).width > 500


def test_runs_drawn_as_one_that_are_no_repetitions_are_named(tmp_path, recwarn):
    runs = [make_run(tmp_path / str(seed), {"recall@1": 0.5}) for seed in (0, 1)]
    (runs[1] / "config.py").write_text((runs[1] / "config.py").read_text() + "seed = 1\n")
    draw_score_curves(runs, tmp_path / "curve.png", "model.head.dim")
    assert not recwarn
    runs.append(make_run(tmp_path / "other", {"recall@1": 0.6}, margin=0.3))
    with pytest.warns(
        UserWarning, match=r"whose model\.head\.dim is 64 .* more than the seed: model\.loss\.margin; --by"
    ):
        draw_score_curves(runs, tmp_path / "curve.png", "model.head.dim")


def test_a_ratio_that_a_config_leaves_out_has_the_value_that_is_said(tmp_path):
    runs = [
        make_run(tmp_path / "all", {"recall@1": 0.8}),
        make_run(tmp_path / "tenth", {"recall@1": 0.7}, class_ratio=0.1),
    ]
    (curve,) = draw_score_curves(runs, tmp_path / "c.svg", "model.loss.class_ratio", missing=1.0)
    assert (curve.values, curve.means) == ([0.1, 1.0], pytest.approx([70, 80]))
    with pytest.raises(MetricForgeError, match=r"--against: .*all has no model\.loss\.class_ratio.* give --missing"):
        draw_score_curves(runs, tmp_path / "c.svg", "model.loss.class_ratio")


@pytest.mark.parametrize(
    ("against", "scores", "says"),
    [
        ("model.loss.type", ["recall@1"], "has 'TripletLoss' as its model.loss.type, where a number is needed"),
        ("model.head.dim", ["recal@1"], 'has no score "recal@1"; did you mean "recall@1"'),
    ],
)
def test_what_is_no_number_or_score_is_named(against, scores, says, tmp_path):
    with pytest.raises(MetricForgeError, match=says):
        draw_score_curves([make_run(tmp_path / "a", {"recall@1": 0.5})], tmp_path / "c.png", against, scores)


def test_a_folder_that_is_no_finished_run_is_named(tmp_path):
    with pytest.raises(MetricForgeError, match=r"holds no scores\.json"):
        draw_score_curves([tmp_path], tmp_path / "c.png", "model.head.dim")
    write_scores(tmp_path / "scores.json", {"recall@1": 0.5}, {})
    with pytest.raises(MetricForgeError, match=r"must hold one config.* and has none"):
        draw_score_curves([tmp_path], tmp_path / "c.png", "model.head.dim")
