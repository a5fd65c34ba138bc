from __future__ import annotations

import numpy as np
import pytest

from metricforge import Clustering
from metricforge.testing import check_clustering


class NearestFirst(Clustering):
    """The first embeddings that are far from each other, and who is nearest to them; the rest break it."""

    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        if not 1 <= clusters <= len(embeddings):
            raise ValueError(f"clusters ({clusters}) must be in 1..{len(embeddings)}")
        centres = [0]
        while len(centres) < clusters:
            distances = ((embeddings[:, None] - embeddings[centres]) ** 2).sum(axis=2).min(axis=1)
            centres.append(int(distances.argmax()))
        on_step(1)
        return ((embeddings[:, None] - embeddings[centres]) ** 2).sum(axis=2).argmin(axis=1)


def test_a_clustering_that_keeps_the_contract_passes():
    check_clustering(NearestFirst())


class TakesAnyNumber(NearestFirst):
    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        return super().assign(embeddings, min(max(clusters, 1), len(embeddings)), seed, on_step)


class GivesOneClusterOnly(NearestFirst):
    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        return super().assign(embeddings, clusters, seed, on_step) * 0


class ChangesItsInput(NearestFirst):
    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        embeddings -= embeddings.mean(axis=0)
        return super().assign(embeddings, clusters, seed, on_step)


class TellsNoStep(NearestFirst):
    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        return super().assign(embeddings, clusters, seed)


class ForgetsItsSeed(NearestFirst):
    def assign(self, embeddings, clusters, seed, on_step=lambda count: None):
        assigned = super().assign(embeddings, clusters, seed, on_step)
        return np.random.default_rng().permutation(clusters)[assigned] if clusters == 7 else assigned


@pytest.mark.parametrize(
    ("clustering", "failed"),
    [
        (TakesAnyNumber, "0 clusters of 60 embeddings are a ValueError: it was accepted"),
        (GivesOneClusterOnly, "three groups that are far apart become three clusters"),
        (ChangesItsInput, "the embeddings were changed in place"),
        (TellsNoStep, "assign tells on_step of the steps it has done .*: it told of none; call on_step"),
        (ForgetsItsSeed, "the same seed gives the same clusters"),
    ],
)
def test_one_that_breaks_the_contract_is_told_the_clause(clustering, failed):
    with pytest.raises(AssertionError, match=rf"^{clustering.__name__}: (.*: )?{failed}"):
        check_clustering(clustering())
