from __future__ import annotations

import numpy as np
import pytest

from metricforge.comparison import read_run
from metricforge.errors import ComparisonError
from metricforge.evaluation import QueryScores, query_scores_path, write_scores
from metricforge.evaluation.results.query_scores_file import write_query_scores

FOUR = np.arange(4)
QUERIES = QueryScores(FOUR, FOUR // 2, FOUR < 3, {"recall@1": np.array([True, False, True, True])})


def test_a_folder_and_a_file_give_the_same(tmp_path):
    write_scores(tmp_path / "run" / "scores.json", {"recall@1": 2 / 3, "nmi": 0.5}, {"epoch": 1}, QUERIES)
    by_folder, by_file = read_run(tmp_path / "run"), read_run(str(tmp_path / "run" / "scores.json"))
    assert by_folder.scores == by_file.scores == {"recall@1": 2 / 3, "nmi": 0.5}
    assert by_folder.protocol == {"epoch": 1}
    assert by_folder.path == by_file.path
    assert by_folder.queries.values["recall@1"].tolist() == [True, False, True, True]


def test_scores_alone_have_no_queries(tmp_path):
    write_scores(tmp_path / "old.json", {"nmi": 0.5}, {})
    assert read_run(tmp_path / "old.json").queries is None


def test_a_run_that_is_not_there_is_said_with_the_nearest_that_is(tmp_path):
    (tmp_path / "pddm_glyphs").mkdir()
    with pytest.raises(ComparisonError, match=r'pddm_glyph: there is no such run; did you mean "pddm_glyphs"\?'):
        read_run(tmp_path / "pddm_glyph")
    with pytest.raises(ComparisonError, match=r"nowhere/run: there is no such run; name the folder of one"):
        read_run(tmp_path / "nowhere" / "run")


def test_a_run_without_scores_yet_is_said_with_what_writes_them(tmp_path):
    with pytest.raises(ComparisonError, match=r"has no scores\.json of its own, which training writes when it ends"):
        read_run(tmp_path)


def test_files_of_another_kind_are_named(tmp_path):
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(ComparisonError, match=r"scores\.json is not a scores file"):
        read_run(tmp_path)
    write_scores(tmp_path / "scores.json", {"nmi": 0.5}, {})
    (tmp_path / "scores.queries.npz").write_text("nothing")
    with pytest.raises(ComparisonError, match=r"scores\.queries\.npz does not hold the scores of queries"):
        read_run(tmp_path)


@pytest.mark.parametrize("scores", [{"recall@1": 0.5}, {"nmi": 2 / 3}])
def test_values_of_another_evaluation_than_the_scores_are_refused(tmp_path, scores):
    path = tmp_path / "scores.json"
    write_scores(path, scores, {})
    write_query_scores(query_scores_path(path), QUERIES)
    with pytest.raises(ComparisonError, match=r"its recall@1 is 0\.666667, that of scores\.json .* two evaluations"):
        read_run(tmp_path)
