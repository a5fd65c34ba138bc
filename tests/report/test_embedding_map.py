from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metricforge.errors import EmbeddingsError
from metricforge.evaluation import EvaluationContext
from metricforge.report.embedding_map import _free_cells, draw_embedding_map, pick_images
from metricforge.similarities import CosineSimilarity
from metricforge.structures import EmbeddingSet

LABELS = np.arange(60) % 3
COLOURS = [(220, 30, 30), (30, 160, 60), (40, 60, 220)]


def context(names=("$x^{$", "two\nlines", "鳥")) -> EvaluationContext:
    centres = np.eye(3)[LABELS]
    vectors = (centres + np.random.default_rng(0).normal(0, 0.02, size=(60, 3))).astype(np.float32)
    return EvaluationContext(EmbeddingSet(vectors, LABELS, class_names=names), CosineSimilarity())


def load(index: int) -> Image.Image:
    return Image.new("RGB", (10, 20), COLOURS[LABELS[index]])


def colour_at(pixels, colour) -> np.ndarray:
    return np.abs(pixels - np.array(colour)).max(axis=2) < 4


def test_each_class_that_the_embeddings_tell_apart_lies_by_itself(tmp_path):
    draw_embedding_map(load, context(), np.arange(60), tmp_path / "map.png", title="costs $5 or $6")
    pixels = np.asarray(Image.open(tmp_path / "map.png").convert("RGB"), dtype=float)
    counts = [colour_at(pixels, colour).sum() for colour in COLOURS]
    assert min(counts) > 0.95 * max(counts) > 0, "no thumbnail hides another"
    middles = [np.argwhere(colour_at(pixels, colour)).mean(axis=0) for colour in COLOURS]
    radii = [np.argwhere(colour_at(pixels, colour)).std(axis=0).max() for colour in COLOURS]
    for one in range(3):
        for other in range(one):
            assert np.linalg.norm(middles[one] - middles[other]) > 2 * max(radii[one], radii[other])


def test_the_same_seed_draws_the_same_map(tmp_path):
    for name in ("a.png", "b.png"):
        draw_embedding_map(load, context(), np.arange(20), tmp_path / name, seed=4)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("points", [np.zeros((30, 2)), np.random.default_rng(0).random((200, 2)) ** 4])
def test_every_image_has_a_cell_of_its_own_inside_the_grid(points):
    columns, rows, cells = _free_cells(points)
    assert len(np.unique(cells, axis=0)) == len(points)
    assert (cells >= 0).all()
    assert (cells < [columns, rows]).all()


def test_images_are_picked_at_random_from_as_many_classes_as_asked_for():
    assert pick_images(context(), 1000).tolist() == list(range(60))
    picked = pick_images(context(), 12, classes=2, seed=1)
    assert len(picked) == 12
    assert len(np.unique(LABELS[picked])) == 2
    assert pick_images(context(), 12, seed=1).tolist() != pick_images(context(), 12, seed=2).tolist()


@pytest.mark.parametrize(
    ("chosen", "perplexity", "error", "says"),
    [
        (range(4), 30.0, EmbeddingsError, "at least 5 images, got 4"),
        (range(9), 0.0, ValueError, "perplexity must be a number > 0"),
    ],
)
def test_what_makes_no_map_is_refused(chosen, perplexity, error, says, tmp_path):
    with pytest.raises(error, match=says):
        draw_embedding_map(load, context(), np.array(chosen), tmp_path / "map.png", perplexity)
