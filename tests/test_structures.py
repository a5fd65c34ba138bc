from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from metricforge import EmbeddingSet, LossOutput, Pairs, Quadruplets, Triplets

ROWS = torch.tensor([0, 1])
FLAGS = torch.tensor([True, False])


@pytest.mark.parametrize(
    "tuples", [Pairs(ROWS, ROWS, FLAGS), Triplets(ROWS, ROWS, ROWS), Quadruplets(ROWS, ROWS, ROWS, ROWS)]
)
def test_tuples_have_a_length_and_cannot_be_changed(tuples):
    assert len(tuples) == 2
    with pytest.raises(FrozenInstanceError):
        tuples.positive = ROWS


def test_tuples_refuse_columns_of_different_lengths_or_dimensions():
    with pytest.raises(ValueError, match=r"Triplets needs one-dimensional columns of one length.*'negative': \(1,\)"):
        Triplets(ROWS, ROWS, ROWS[:1])
    with pytest.raises(ValueError, match="Quadruplets needs one-dimensional columns"):
        Quadruplets(*[ROWS[:, None]] * 4)


def test_tuples_refuse_columns_of_other_types():
    with pytest.raises(ValueError, match=r"Pairs\.positive must be torch\.bool, got torch\.int64"):
        Pairs(ROWS, ROWS, ROWS)
    with pytest.raises(ValueError, match=r"Triplets\.positive must be torch\.int64, got torch\.bool"):
        Triplets(ROWS, FLAGS, ROWS)
    with pytest.raises(ValueError, match=r"Pairs\.first must be torch\.int64, got torch\.int32"):
        Pairs(ROWS.int(), ROWS, FLAGS)


def test_a_loss_output_is_a_scalar_with_no_parts_unless_given():
    assert dict(LossOutput(torch.tensor(1.0)).parts) == {}
    with pytest.raises(ValueError, match=r"must be a scalar, got shape \(2,\)"):
        LossOutput(torch.ones(2))


def test_ids_of_an_embedding_set_default_to_the_position():
    images = EmbeddingSet(np.zeros((3, 2)), np.array([5, 5, 6]))
    assert images.ids is not None
    assert images.ids.tolist() == [0, 1, 2]
    assert len(images) == 3


@pytest.mark.parametrize(
    ("embeddings", "labels", "ids", "message"),
    [
        (np.zeros(3), np.zeros(3, int), None, r"embeddings must be \(N, D\), got shape \(3,\)"),
        (np.zeros((3, 2)), np.zeros(2, int), None, r"3 embeddings, got labels \(2,\)"),
        (np.zeros((3, 2)), np.zeros(3, int), np.arange(2), r"ids \(2,\)"),
        (np.zeros((3, 2)), np.zeros(3), None, "must be integers, got float64"),
        (np.zeros((3, 2)), np.zeros(3, int), np.array([4, 4, 5]), "1 of 3 stand twice"),
        (
            np.array([[0, 1], [np.nan, 0], [0, np.inf]]),
            np.zeros(3, int),
            np.array([7, 8, 9]),
            "2 of 3.*first ids: 8, 9",
        ),
    ],
)
def test_a_faulty_embedding_set_is_named(embeddings, labels, ids, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingSet(embeddings, labels, ids)
