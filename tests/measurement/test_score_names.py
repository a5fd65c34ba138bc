from __future__ import annotations

import pytest

from metricforge.errors import EmbeddingsError
from metricforge.measurement import build_evaluators


@pytest.mark.parametrize("name", ["recal@1", "recall@0", "recall@01", "recall", "recall@²", "tar@far=2", "tar@far=x"])
def test_an_unknown_score_is_named_with_those_there_are(name):
    with pytest.raises(EmbeddingsError, match=r"is not a score; .*known: map@r, "):
        build_evaluators([name])
    with pytest.raises(EmbeddingsError, match="distinct names, at least one, got nmi"):
        build_evaluators(["nmi", "nmi"])


def test_one_evaluator_gives_all_scores_of_its_kind_with_the_cutoffs_asked_for():
    evaluators = build_evaluators(["recall@10", "map@r", "recall@1", "eer", "tar@far=0.5", "precision@3"])
    built = {type(each).__name__: each for each in evaluators}
    assert sorted(built) == ["MAPAtR", "PrecisionAtK", "RecallAtK", "Verification"]
    assert len(evaluators) == 4
    assert built["RecallAtK"].ks == (10, 1)
    assert built["PrecisionAtK"].ks == (3,)
    assert built["Verification"].fars == (0.5,)


@pytest.mark.parametrize(("score", "normalization"), [("nmi", "arithmetic"), ("nmi_geometric", "geometric")])
def test_nmi_is_normalized_as_its_name_says(score, normalization):
    (nmi,) = build_evaluators([score])
    assert nmi.normalization == normalization


def test_a_tree_and_the_score_that_reads_it_are_built_together(tmp_path):
    tree = tmp_path / "tree.csv"
    tree.write_text("child,parent\ncat,animal\n")
    (zero_shot,) = build_evaluators(["zero_shot@2"], tree)
    assert zero_shot.ks == (2,)
    for scores, given in ((["zero_shot@2"], None), (["nmi"], tree)):
        with pytest.raises(EmbeddingsError, match="tree is what zero_shot@K reads, and it alone"):
            build_evaluators(scores, given)


def test_no_score_is_refused():
    with pytest.raises(EmbeddingsError, match="at least one, got none"):
        build_evaluators([])
