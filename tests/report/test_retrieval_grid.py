from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from metricforge.evaluation import EvaluationContext
from metricforge.report import draw_retrieval_grid
from metricforge.report.retrieval_grid import RIGHT, WRONG
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet

LABELS = np.array([0, 0, 1, 1, 0])
IMAGES = EmbeddingSet(np.arange(5.0)[:, None], LABELS, class_names=("dollar $ sign", "a_class_of_quite_a_long_name"))


@pytest.fixture
def context() -> EvaluationContext:
    return EvaluationContext(IMAGES, EuclideanSimilarity())


def grey(index: int) -> Image.Image:
    return Image.new("L", (10 + index, 10), 200)


def share(path, colour: str) -> float:
    pixels = np.asarray(Image.open(path).convert("RGB"), dtype=float)
    return float((np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=2) < 3).mean())


def test_frames_are_green_for_hits_and_red_for_misses(context, tmp_path):
    # By distance, ties by order: query 1 finds 0 (right) then 2 (wrong); query 3 finds 2 (right) then 4 (wrong).
    draw_retrieval_grid(grey, context, [1, 3], tmp_path / "both.png", neighbours=2)
    # Query 0 finds 1 (right) alone; query 4 finds 3 (wrong) alone.
    draw_retrieval_grid(grey, context, [0], tmp_path / "right.png", neighbours=1)
    draw_retrieval_grid(grey, context, [4], tmp_path / "wrong.png", neighbours=1)
    green, red = share(tmp_path / "both.png", RIGHT), share(tmp_path / "both.png", WRONG)
    assert green == pytest.approx(red, rel=0.1)
    assert share(tmp_path / "right.png", RIGHT) > 10 * share(tmp_path / "right.png", WRONG) > 0  # the legend has both
    assert share(tmp_path / "wrong.png", WRONG) > 10 * share(tmp_path / "wrong.png", RIGHT) > 0


def test_the_pictures_drawn_are_those_of_the_query_and_its_neighbours_in_order(context, tmp_path):
    drawn = []

    def load(index: int) -> Image.Image:
        drawn.append(index)
        return grey(index)

    draw_retrieval_grid(load, context, [0, 4], tmp_path / "grid.png", neighbours=3)
    assert drawn == [0, 1, 2, 3, 4, 3, 2, 1]


def test_a_gallery_is_drawn_from_its_own_pictures(tmp_path):
    gallery = EmbeddingSet(np.array([[9.0], [0.1]]), np.array([1, 0]))
    context = EvaluationContext(IMAGES, EuclideanSimilarity(), gallery=gallery)
    drawn = []

    def load(index: int) -> Image.Image:
        drawn.append(index)
        return grey(index)

    draw_retrieval_grid(grey, context, [0], tmp_path / "a.png", neighbours=2, gallery_images=load)
    assert drawn == [1, 0]
    with pytest.raises(ValueError, match="gallery_images is needed"):
        draw_retrieval_grid(grey, context, [0], tmp_path / "b.png", neighbours=2)


def test_drawing_leaves_pyplot_alone_and_nothing_beside_the_picture(context, tmp_path):
    draw_retrieval_grid(grey, context, [0], tmp_path / "new" / "grid.pdf", neighbours=2, title="costs $5 or $6" * 9)
    assert plt.get_fignums() == []
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["grid.pdf"]
    assert (tmp_path / "new" / "grid.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("queries", [[], [5], [-1, 0]])
def test_positions_that_are_no_query_are_refused(context, tmp_path, queries):
    with pytest.raises(ValueError, match=r"queries must be positions in 0\.\.4"):
        draw_retrieval_grid(grey, context, queries, tmp_path / "grid.png")


def test_more_neighbours_than_there_are_is_refused(context, tmp_path):
    with pytest.raises(ValueError, match=r"k \(8\) must be in 1\.\.4"):
        draw_retrieval_grid(grey, context, [0], tmp_path / "grid.png")
