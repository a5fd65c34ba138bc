from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image

from metricforge.evaluation import EvaluationContext
from metricforge.report.retrieval_grid import RIGHT, WRONG, draw_retrieval_grid
from metricforge.similarities import CosineSimilarity, EuclideanSimilarity, HammingSimilarity
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


@pytest.fixture
def written(monkeypatch) -> list[str]:
    """Every text that is drawn, in order."""
    texts, draw = [], Axes.text

    def note(self, x, y, text, *arguments, **named):
        texts.append(text)
        return draw(self, x, y, text, *arguments, **named)

    monkeypatch.setattr(Axes, "text", note)
    return texts


def vectors(similarity, names=("one", "two")) -> EvaluationContext:
    points = np.array([[3.0, 4, 1, -1, 1, 1, 1, 1], [4, 3, 1, 1, 1, 1, 1, 1], [-4, 3, -1, 1, 1, 1, 1, 1]])
    return EvaluationContext(EmbeddingSet(points, np.array([0, 0, 1]), class_names=names), similarity)


def test_score_and_distance_stand_below_each_neighbour(written, tmp_path):
    context = vectors(CosineSimilarity())
    draw_retrieval_grid(grey, context, [0], tmp_path / "a.png", neighbours=2, numbers=True)
    points = context.queries.embeddings
    for other in (1, 2):
        cosine = points[0] @ points[other] / np.linalg.norm(points[0]) / np.linalg.norm(points[other])
        assert f"{cosine:.3f} · d {np.linalg.norm(points[0] - points[other]):.3f}" in written
    draw_retrieval_grid(grey, vectors(EuclideanSimilarity()), [0], tmp_path / "b.png", neighbours=1, numbers=True)
    assert f"distance {np.sqrt(1 + 1 + 4):.3f}" in written
    draw_retrieval_grid(grey, vectors(HammingSimilarity()), [0], tmp_path / "c.png", neighbours=2, numbers=True)
    assert written[-3:] == ["1 bit differs", "two", "3 bits differ"]


def test_bits_stand_below_floats_of_the_same_query(written, tmp_path):
    context = vectors(CosineSimilarity())
    drawn = []

    def load(index):
        drawn.append(index)
        return grey(index)

    rankings = {"floats": context, "bits": context.by(HammingSimilarity())}
    draw_retrieval_grid(load, context, [2, 0], tmp_path / "a.png", neighbours=2, rankings=rankings)
    assert drawn == [2, 0, 1, 2, 1, 0, 0, 1, 2, 0, 1, 2]
    assert [text for text in written if text.startswith("by ")] == ["by floats", "by bits"] * 2


def test_names_of_any_letters_are_drawn_on_one_line_without_a_warning(written, tmp_path, recwarn):
    names = ("two\nlines\tand\x07 a bell", "鳥🐦\u202egpj.exe")
    draw_retrieval_grid(grey, vectors(CosineSimilarity(), names), [0], tmp_path / "a.png", neighbours=2)
    assert {"two lines and …", "鳥🐦 gpj.exe"} <= set(written)
    assert [str(warning.message) for warning in recwarn] == []
