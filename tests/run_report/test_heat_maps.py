import numpy as np
import pytest
import torch

from metricforge.heads import EmbeddingHead
from metricforge.interfaces import Backbone
from metricforge.models import MetricLearner
from metricforge.run_report.heat_maps import CELLS, blanked, draw_heat, explain, named_cells, shifted
from metricforge.similarities import CosineSimilarity


class TopLeft(Backbone):
    """Sees the mean colour of the top left quarter alone."""

    feature_dim = 3
    mean = std = (0.5, 0.5, 0.5)

    def forward(self, images):
        return images[:, :, :16, :16].mean(dim=(2, 3))


def _learner(backbone: dict) -> MetricLearner:
    torch.manual_seed(0)
    model = dict(backbone=backbone, head=dict(type="EmbeddingHead", dim=16), similarity=dict(type="CosineSimilarity"))
    return MetricLearner.from_config(model, None)


def _images(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, with one bright cross in both at different places."""
    generator = torch.Generator().manual_seed(seed)
    pair = torch.randint(0, 90, (2, 3, 32, 32), generator=generator, dtype=torch.uint8)
    for image, (row, column) in zip(pair, ((4, 18), (20, 6)), strict=True):
        image[0, row : row + 8, column + 3 : column + 5] = 250
        image[0, row + 3 : row + 5, column : column + 8] = 250
    return pair[0], pair[1]


def test_only_the_quarter_that_the_model_looks_at_carries_the_similarity():
    learner = MetricLearner(TopLeft(), EmbeddingHead(feature_dim=3, l2_normalize=False), CosineSimilarity())
    image, other = torch.full((2, 3, 32, 32), 40, dtype=torch.uint8).unbind()
    image, other = image.clone(), other.clone()
    image[0, :16, :16] = other[0, :16, :16] = 250
    image[2, 16:, 16:] = 250
    found = explain(learner, image, other, torch.device("cpu"))
    named = named_cells(found.heat)
    assert named[: CELLS // 2, : CELLS // 2].all()
    assert found.without_named < found.without_others < found.similarity + 1e-9


@pytest.mark.parametrize(
    "backbone",
    [
        dict(type="GlyphNet"),
        dict(type="TimmBackbone", name="vit_tiny_patch16_224", pretrained=False, img_size=32, patch_size=4, depth=2),
    ],
    ids=["convolutions", "ViT"],
)
def test_blanking_the_named_regions_lowers_the_similarity_more_than_the_same_shape_elsewhere(backbone):
    learner = _learner(backbone).eval()
    lowered, at_random = [], []
    for seed in range(6):
        image, other = _images(seed)
        found = explain(learner, image, other, torch.device("cpu"), seed)
        # by other random regions than those that the explanation itself tried
        pixels = image[None].float()
        blank = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
        named = named_cells(found.heat)
        masks = [named, *shifted(named, 12, 100 + seed)]
        with torch.no_grad():
            target = learner.embed(other[None])
            embeddings = learner.embed(torch.cat([blanked(pixels, blank, mask) for mask in masks]))
            similarities = torch.nn.functional.cosine_similarity(embeddings, target).numpy()
        assert similarities[0] == pytest.approx(found.without_named, abs=1e-5)
        lowered.append(found.similarity - similarities[0])
        at_random.append(found.similarity - similarities[1:].mean())
    assert np.mean(np.array(lowered) > np.array(at_random)) > 0.8
    assert np.mean(lowered) > 0
    assert np.mean(lowered) > 2 * np.mean(at_random)


def test_shifted_regions_are_of_the_same_size_and_never_the_same_place():
    cells = np.zeros((CELLS, CELLS), dtype=bool)
    cells[1:4, 2:6] = True
    moved = shifted(cells, CELLS**2 - 1, seed=0)
    assert {mask.sum() for mask in moved} == {12}
    assert len({mask.tobytes() for mask in moved} | {cells.tobytes()}) == CELLS**2
    whole = np.lib.stride_tricks.sliding_window_view(np.tile(moved[0], (2, 2)), (3, 4))
    assert whole.all(axis=(2, 3)).any(), "its shape, around the edge"


def test_a_map_is_drawn_whatever_its_heat():
    image = _images(0)[0]
    for heat in (np.zeros((CELLS, CELLS)), -np.ones((CELLS, CELLS)), np.eye(CELLS)):
        assert draw_heat(image, heat).startswith("UklGR")  # RIFF in base64
