from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricforge.evaluation import QueryScores, query_scores_path, read_query_scores, read_scores, write_scores


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_score_reads_back_to_the_last_digit(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "scores.json"
    write_scores(path, {"recall@1": value}, {})
    scores, _ = read_scores(path)
    assert scores["recall@1"].hex() == value.hex()


def test_the_file_holds_scores_and_protocol_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "run" / "scores.json"
    write_scores(path, {"map@r": np.float64(0.1)}, {"classes": 3, "evaluators": [{"type": "MAPAtR"}]})
    content = {"scores": {"map@r": 0.1}, "protocol": {"classes": 3, "evaluators": [{"type": "MAPAtR"}]}}
    assert json.loads(path.read_text()) == content
    assert read_scores(path) == (content["scores"], content["protocol"])
    assert [entry.name for entry in path.parent.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_by_name_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "scores.json"
    write_scores(path, {"nmi": 0.5}, {})
    with pytest.raises(ValueError, match=r"scores must be finite, got \{'nmi'"):
        write_scores(path, {"nmi": value}, {})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_scores(path, {"nmi": 0.6}, {"similarity": object()})
    assert read_scores(path)[0] == {"nmi": 0.5}
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_a_write_that_is_interrupted_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_scores(path, {"nmi": 0.5}, {})

    def no_space(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="no space left"):
        write_scores(path, {"nmi": 0.6}, {})
    assert read_scores(path)[0] == {"nmi": 0.5}
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_values_of_queries_lie_beside_the_scores_and_go_with_them(tmp_path):
    path = tmp_path / "scores.json"
    three = np.arange(3)
    queries = QueryScores(three, three, np.ones(3, dtype=bool), {"recall@1": np.array([True, False, True])})
    write_scores(path, {"recall@1": 2 / 3}, {}, queries)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["scores.json", "scores.queries.npz"]
    assert read_query_scores(query_scores_path(path)).values["recall@1"].tolist() == [True, False, True]
    write_scores(path, {"nmi": 0.5}, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scores": {"a": "high"}, "protocol": {}}', '{"scores": {"a": 1}}'])
def test_a_file_of_another_kind_is_named(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json is not a scores file"):
        read_scores(path)


def test_a_missing_file_is_a_file_not_found_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_scores(tmp_path / "none.json")
