import re
import warnings

import pytest
import torch
from metricforge_pddm import PDDM, CollapsedScoresWarning, DoubleHeaderHingeLoss, HardQuadrupletMiner
from metricforge_pddm.score_range_watch import EVERY, range_without_diagonal

LABELS = torch.arange(4).repeat_interleave(3)
EMBEDDINGS = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def step(loss, unit):
    return loss(EMBEDDINGS, LABELS, HardQuadrupletMiner()(EMBEDDINGS, LABELS, unit), unit)


def test_scores_that_become_the_same_are_told_once_whatever_dropout_adds():
    torch.manual_seed(0)
    loss, unit = DoubleHeaderHingeLoss(), PDDM(6, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(EVERY + 1):
            step(loss, unit)
    with torch.no_grad():
        unit.score.weight.mul_(1e-4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3 * EVERY):
            step(loss, unit)
    assert [warning.category for warning in caught] == [CollapsedScoresWarning]
    assert re.search(r"span .*e-.*, .* at first: .* negatives=\"semi_hard\"", str(caught[0].message))
    assert unit.dropout.training


def test_a_score_that_is_constant_from_the_start_is_told_and_evaluation_is_silent():
    loss, unit = DoubleHeaderHingeLoss(), PDDM(6)
    with torch.no_grad():
        unit.score.weight.zero_()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(loss.eval(), unit)
    with pytest.warns(CollapsedScoresWarning):
        step(loss.train(), unit)


def test_the_range_is_that_of_the_pairs_without_the_diagonal():
    scores = torch.tensor([[9.0, 1.0, -2.0], [0.0, -9.0, 4.0], [1.0, 1.0, 9.0]])
    assert range_without_diagonal(scores) == 6
