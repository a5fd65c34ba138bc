from __future__ import annotations

import numpy as np
import pytest

from metricforge.errors import EmbeddingsError
from metricforge.measurement import TaggedEmbeddings

POINTS = np.array([[0.0], [1.0], [1.1], [5.0], [5.2], [9.0]], dtype=np.float32)
LABELS = np.array([0, 0, 1, 1, 1, 2])
BROKEN = np.where(np.arange(6)[:, None] % 2, np.nan, POINTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((BROKEN, LABELS, np.array(list("uvwxyz"))), r"3 of 6 embeddings are not finite \(the first ids: v, x, z\)"),
        ((POINTS, LABELS[:5]), r"labels must be one for each of the 6 embeddings, got shape \(5,\)"),
        ((POINTS, LABELS, np.arange(7)), r"ids must be one for each of the 6 embeddings, got shape \(7,\)"),
        ((POINTS, LABELS, np.array([1, 2, 2, 3, 4, 5])), r"1 stand more than once \(the first: 2\)"),
        ((POINTS[:, 0], LABELS), r"embeddings must be \(N, D\).*got shape \(6,\)"),
        ((POINTS[:0], LABELS[:0]), r"with N and D above 0"),
        ((POINTS, LABELS * 0.5), "labels must be integers or text, got float64"),
        ((POINTS > 1, LABELS), "embeddings must be floats or integers, got bool"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(arguments, message):
    with pytest.raises(EmbeddingsError, match=f"^the embeddings: .*{message}"):
        TaggedEmbeddings(*arguments)


def test_numbers_and_text_are_taken_as_they_are():
    images = TaggedEmbeddings(POINTS.astype(np.int8), LABELS.astype(str), np.array(list("uvwxyz")))
    assert len(images) == 6
    assert images.embeddings.dtype == np.int8
    assert images.labels.tolist() == list("001112")
    assert TaggedEmbeddings(POINTS, LABELS).ids is None


def test_errors_name_the_source_and_no_more_than_five_ids():
    with pytest.raises(EmbeddingsError, match=r"^a\.npz: 6 of 6 .*\(the first ids: 10, 11, 12, 13, 14, \.\.\.\)"):
        TaggedEmbeddings(POINTS * np.nan, LABELS, np.arange(10, 16), source="a.npz")
