from __future__ import annotations

import pytest

from metricforge.errors import EmbeddingsError
from metricforge.index.planning import plan_kind
from metricforge.interfaces import Similarity
from metricforge.similarities import CosineSimilarity, HammingSimilarity


class _Learned(Similarity):
    def pairwise(self, x, y):
        return x @ y.T


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (dict(), "flat"),
        (dict(count=10**6), "ivfint8"),
        (dict(count=10**6, memory=2e9, recall=0.9), "ivfint8"),
        (dict(count=10**6, memory=1e8, recall=0.9), "ivfpq"),
        (dict(count=10**8, memory=8e9), "ivfpq"),
        (dict(kind="int8"), "int8"),
        (dict(similarity=HammingSimilarity()), "binary"),
        (dict(similarity=_Learned(), memory=1e9), "flat"),
        (dict(kind="hnsw", recall=0.99), "hnsw"),
    ],
)
def test_the_kind_follows_from_number_memory_and_similarity(options, kind):
    assert _plan(**options) == kind


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (dict(kind="hnsw", memory=2e9), "--memory 2000MB chooses a kind, but --kind hnsw names one already"),
        (
            dict(kind="flat", recall=0.9),
            "--recall 0.9 sets how thoroughly .* search, but --kind flat compares every image",
        ),
        (dict(kind="ivfint8"), "kind ivfint8 needs at least 1,000 images"),
        (dict(kind="ivfpq"), "kind ivfpq needs at least 1,000 images to learn its codes from, got 100"),
        (dict(similarity=HammingSimilarity(), kind="hnsw"), "--kind hnsw: the model compares signs"),
        (dict(count=10**6, memory=1e7), "1,000,000 vectors of 128 dimensions need at least 40 MB; allow more"),
        (dict(memory=1e4), "100 vectors of 128 dimensions need at least 0.0512 MB; allow more"),
        (dict(similarity=_Learned(), count=10**6, memory=1e8), "need 512 MB as flat, which a model that compares by"),
    ],
)
def test_what_cannot_take_effect_is_told(options, told):
    with pytest.raises(EmbeddingsError, match=told):
        _plan(**options)


def _plan(kind="auto", memory=None, recall=None, similarity=None, count=100):
    return plan_kind(kind, memory, recall, similarity or CosineSimilarity(), count, 128)
