"""``metricforge compare`` and ``metricforge classes`` as a person types them, on runs that were really trained."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from metricforge.cli.main import main
from metricforge.evaluation import QueryScores, write_scores


def run(*arguments) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture
def config_file(tiny_config, tmp_path):
    tiny_config["train_cfg"]["max_epochs"] = 1
    return written(tiny_config, tmp_path / "tiny.py")


def written(config, path):
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
    return path


def test_runs_are_set_side_by_side_as_far_as_their_protocols_agree(config_file, tiny_config, tmp_path, capsys):
    one, reseeded, cropped = (tmp_path / name for name in ("one", "reseeded", "cropped"))
    assert run("train", config_file, "--device", "cpu", "--work-dir", one) == 0
    checkpoint = [one / "iter_6.pth", "--device", "cpu", "--work-dir"]
    assert run("test", config_file, *checkpoint, reseeded, "--seed", 4) == 0
    tiny_config["test_dataloader"]["dataset"]["transform"][0]["size"] = 20
    assert run("test", written(tiny_config, tmp_path / "larger.py"), *checkpoint, cropped) == 0
    capsys.readouterr()

    assert run("compare", one) == 0
    out = capsys.readouterr().out
    assert re.search(r"recall@1 +\d+\.\d +\d+\.\d … \d+\.\d", out)
    assert re.search(r"nmi +\d+\.\d +–", out)
    assert "95 % intervals: 10,000 resamples of the 4 classes of 24 queries, seed 0" in out

    file = tmp_path / "out" / "comparison.json"
    assert run("compare", one, reseeded, "--resamples", 500, "--level", 0.9, "--json", file) == 0
    out = capsys.readouterr().out
    assert "90 % intervals: 500 resamples" in out
    assert re.search(r"reseeded +\d+\.\d +\d+\.\d … \d+\.\d +\+0\.0 +\+0\.0 … \+0\.0 +1\.000", out)
    assert "not shown, for they were measured differently (--force shows them): nmi" in out
    assert "clustering.seed: one 3, reseeded 4" in out
    content = json.loads(file.read_text())
    assert content["runs"] == ["one", "reseeded"]
    assert [score["name"] for score in content["scores"]] == ["recall@1", "recall@2", "map@r"]
    assert list(content["withheld"]) == ["nmi"]

    assert run("compare", one, cropped) == 1
    refused = capsys.readouterr()
    assert "recall@1" not in refused.out
    assert re.search(r"preprocessing\.transform: one .*size=\(16, 16\).*, cropped .*size=\(20, 20\)", refused.err)
    assert "Traceback" not in refused.err
    assert run("compare", one, cropped, "--force") == 0
    out = capsys.readouterr().out
    assert "recall@1 !" in out
    assert "! measured differently, so not to be compared: recall@1, recall@2, map@r, nmi" in out

    assert run("compare", one, tmp_path / "onne") == 1
    assert 'onne: there is no such run; did you mean "one"?' in capsys.readouterr().err


def test_the_classes_of_a_run_are_listed_by_name_and_written(config_file, tmp_path, capsys):
    assert run("train", config_file, "--device", "cpu", "--work-dir", tmp_path / "run") == 0
    capsys.readouterr()
    files = ["--csv", tmp_path / "out" / "classes.csv", "--json", tmp_path / "out" / "classes.json"]
    assert run("classes", tmp_path / "run", "--worst", 2, "--score", "map@r", *files) == 0
    out = capsys.readouterr().out
    assert "the worst by map@r" in out
    assert len(re.findall(r"class_\d ┃|class_\d +│ +6 │ +\d+\.\d │", out)) == 2
    with (tmp_path / "out" / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["class_4", "class_5", "class_6", "class_7"]
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    assert np.mean([float(row["map@r"]) for row in rows]) == pytest.approx(scores["map@r"], abs=1e-6)
    content = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [row["queries"] for row in content["classes"]] == [6] * 4
    wrong = sum(pair["first_as_second"] + pair["second_as_first"] for pair in content["confused"]["model"])
    assert wrong == round(24 * (1 - scores["recall@1"]))

    assert run("classes", tmp_path / "run", "--score", "map") == 1
    assert 'has no score "map" of single classes; did you mean "map@r"?' in capsys.readouterr().err
    (tmp_path / "run" / "scores.queries.npz").unlink()
    assert run("classes", tmp_path / "run") == 1
    assert "has no scores.queries.npz, so nothing is known about single classes" in capsys.readouterr().err


LABELS = np.array(["ape", "ape", "ape", "bee", "bee", "cat", "dog", "dog"])
# nearest: ape ape, ape bee, bee ape, cat bee (no match), dog dog
POINTS = np.array([[0.0], [0.1], [5.0], [5.2], [9.0], [9.5], [20.0], [20.1]], dtype=np.float32)


def test_evaluated_embeddings_have_their_classes_printed_and_are_compared(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", embeddings=POINTS, labels=LABELS, ids=np.array(list("stuvwxyz")))
    np.savez(tmp_path / "b.npz", embeddings=POINTS[::-1], labels=LABELS, ids=np.array(list("stuvwxyz")))
    for name in "ab":
        options = ["--similarity", "euclidean", "--json", tmp_path / f"{name}.json", "--classes", "3"]
        assert run("evaluate", tmp_path / f"{name}.npz", *options) == 0
        out = capsys.readouterr().out
        assert "the worst by recall@1" in out
        if name == "a":
            assert re.search(r"bee +│ +2 │ +0\.0 │ (ape|cat) \(1\)", out)
            assert re.search(r"ape +│ bee +│ +1 of 3 │ +1 of 2", out)
    assert sorted(path.name for path in tmp_path.glob("*.queries.npz")) == ["a.queries.npz", "b.queries.npz"]
    assert run("compare", tmp_path / "a.json", tmp_path / "b.json") == 0
    out = capsys.readouterr().out
    assert "resamples of the 3 classes of 7 queries" in out
    assert "differences: to a, on the same queries and resamples" in out


def test_classes_without_neighbours_or_queries_say_what_would_show_them(tmp_path, capsys):
    four = np.arange(4)
    queries = QueryScores(four, four // 2, four >= 0, {"mrr": np.array([1, 0.5, 1, 1])})
    write_scores(tmp_path / "a.json", {"mrr": 0.875}, {}, queries)
    assert run("classes", tmp_path / "a.json") == 0
    out = capsys.readouterr().out
    assert re.search(r"0 +│ +2 │ +75\.0 │", out)
    assert "did not record nearest images by the ranking of mrr" in out
    np.savez(tmp_path / "a.npz", embeddings=POINTS + 1, labels=LABELS)
    assert run("evaluate", tmp_path / "a.npz", "--scores", "nmi", "--classes", "2") == 1
    assert "--classes: none of the scores is a mean over queries; add recall@1 to --scores" in capsys.readouterr().err


def test_a_range_that_is_none_is_refused(tmp_path, capsys):
    assert run("classes", tmp_path, "--worst", "0") == 2
    assert "0: must be a whole number >= 1" in capsys.readouterr().err
    assert run("compare", tmp_path, "--resamples", "5") == 1
    assert "resamples must be at least 100, got 5" in capsys.readouterr().err
