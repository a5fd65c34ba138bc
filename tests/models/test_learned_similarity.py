import pytest
import torch

from metricforge.backbones import GlyphNet
from metricforge.errors import ConfigError
from metricforge.heads import EmbeddingHead
from metricforge.interfaces import Loss, Similarity
from metricforge.losses import ContrastiveLoss, TripletLoss
from metricforge.miners import HardTripletMiner
from metricforge.models import MetricLearner, check_similarity_is_trained
from metricforge.structures import LossOutput


class Mahalanobis(Similarity):
    def __init__(self, dim=4):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.eye(dim))

    def pairwise(self, x, y):
        return -torch.cdist(x @ self.factor, y @ self.factor)


class BySimilarity(Loss):
    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(similarity.pairwise(embeddings, embeddings).square().mean())


def learner(loss, miner=None):
    return MetricLearner(GlyphNet(width=4, feature_dim=4), EmbeddingHead(4, 4), Mahalanobis(), loss, miner)


@pytest.mark.parametrize("parts", [(ContrastiveLoss(),), (TripletLoss(),), (TripletLoss(), HardTripletMiner())])
def test_a_similarity_that_the_loss_does_not_train_is_refused_with_both_names_and_the_way_out(parts):
    name = type(parts[0]).__name__
    with pytest.raises(ConfigError, match=rf"Mahalanobis has 16 weights, but {name} .*train_similarity=False"):
        check_similarity_is_trained(learner(*parts), 4)


def test_a_third_party_s_loss_that_uses_it_is_taken_and_so_is_a_fixed_similarity():
    check_similarity_is_trained(learner(BySimilarity()), 4)
    fixed = learner(TripletLoss())
    fixed.similarity.requires_grad_(False)
    check_similarity_is_trained(fixed, 4)


def test_the_check_changes_neither_weights_nor_random_numbers():
    model = learner(BySimilarity())
    before, state = {n: p.clone() for n, p in model.state_dict().items()}, torch.get_rng_state()
    check_similarity_is_trained(model, 4)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
