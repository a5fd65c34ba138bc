import pytest
import torch

pytest.importorskip("pytorch_metric_learning")

from metricforge import SIMILARITIES
from metricforge.testing import check_similarity


def build(name, **arguments):
    return SIMILARITIES.build(dict(type=f"pml.{name}", **arguments))


@pytest.mark.parametrize(
    ("name", "arguments", "search"),
    [
        ("CosineSimilarity", {}, "ip"),
        ("DotProductSimilarity", {}, "ip"),
        ("DotProductSimilarity", dict(normalize_embeddings=False), "ip"),
        ("LpDistance", {}, "l2"),
        ("LpDistance", dict(power=2), "l2"),
        ("LpDistance", dict(normalize_embeddings=False), "l2"),
        ("LpDistance", dict(p=1), None),
        ("SNRDistance", {}, None),
    ],
)
def test_the_contract_holds_and_the_index_is_the_one_that_fits(name, arguments, search):
    similarity = build(name, **arguments)
    assert similarity.search == search
    check_similarity(similarity, symmetric=name != "SNRDistance")


def test_a_power_that_changes_the_order_is_searched_pair_by_pair():
    assert build("DotProductSimilarity", power=2).search is None
    assert build("LpDistance", power=-1).search is None


def test_scores_by_hand():
    x, y = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0]])
    plain = build("LpDistance", normalize_embeddings=False, power=2)
    torch.testing.assert_close(plain.pairwise(x, y), torch.tensor([[-25.0, -16.0]]))
    city_block = build("LpDistance", normalize_embeddings=False, p=1)
    torch.testing.assert_close(city_block.pairwise(x, y), torch.tensor([[-7.0, -4.0]]))
    torch.testing.assert_close(build("CosineSimilarity").pairwise(x, y), torch.tensor([[0.0, 0.6]]))
    product = build("DotProductSimilarity", normalize_embeddings=False)
    torch.testing.assert_close(product.pairwise(x, y), torch.tensor([[0.0, 9.0]]))
    # Signal to noise: the variance of x - y within a vector over that of x; (3, 4) and (3, 0): 8 / 0.5.
    noise = build("SNRDistance", normalize_embeddings=False)
    torch.testing.assert_close(noise.pairwise(x, y), torch.tensor([[-1.0, -16.0]]))
