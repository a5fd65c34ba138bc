import numpy as np
import pytest
from PIL import Image

from metricforge.evaluation import ConfusedClasses
from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.class_overlap import Overlap, outliers, overlapping_classes
from metricforge.run_report.picture_lists import PictureLists
from metricforge.run_report.retrieval import retrieve
from metricforge.run_report.suspects import doubtful_labels, near_duplicates
from metricforge.similarities import EuclideanSimilarity
from metricforge.structures import EmbeddingSet


def _context(values: list[float], labels: list[int]) -> EvaluationContext:
    embeddings = np.array(values, dtype=np.float32)[:, None]
    return EvaluationContext(EmbeddingSet(embeddings, np.array(labels)), EuclideanSimilarity())


def test_an_image_among_those_of_another_class_is_doubted_and_no_other():
    values = [*np.linspace(0, 1, 12), *np.linspace(50, 51, 12)]
    labels = [0] * 12 + [1] * 12
    labels[5] = 1  # lies amid class 0
    context = _context(values, labels)
    found = doubtful_labels(context, retrieve(context, 20), 5)
    assert [(one.query, one.likely, one.share) for one in found] == [(5, 0, 1.0)]


def test_neighbours_of_several_classes_doubt_nothing():
    context = _context(list(np.linspace(0, 1, 24)), list(range(6)) * 4)
    assert doubtful_labels(context, retrieve(context, 20), 5) == []


def test_the_share_of_an_overlap_is_of_the_neighbours_of_both():
    context = _context([0.0, 1.0, 1.1, 5.0, 5.1], [0, 0, 1, 2, 2])
    found = overlapping_classes(context, retrieve(context, 1), 5)
    # of 0, 0 and 1 the nearest are 1, 1.1 and 1: two of three are of the other class
    assert found == [Overlap(0, 1, pytest.approx(2 / 3))]


def test_the_image_far_from_its_class_is_the_outlier():
    rows = np.array([[0.0], [1], [2], [3], [30], [100], [101], [102], [103]], dtype=np.float32)
    found = outliers(np.array([0] * 5 + [1] * 4), rows, 2)
    assert found[0].query == 4
    # means of the others: 9, 8.75, 8.5, 8.25 and 1.5; distances 9, 7.75, 6.5, 5.25, 28.5, of which 7.75 is the median
    assert found[0].times == pytest.approx(28.5 / 7.75)


def test_pictures_that_hardly_differ_are_duplicates_and_each_pair_stands_once():
    noise = [np.random.default_rng(seed).integers(0, 255, (32, 32), dtype=np.uint8) for seed in (0, 1)]
    pictures = [noise[0], np.clip(noise[0] + 1, 0, 255), noise[1], np.full((32, 32), 9), np.full((32, 32), 9)]
    context = _context([0.0, 0.1, 0.15, 5.0, 5.01], [0, 1, 1, 2, 2])

    def load(number: int) -> Image.Image:
        return Image.fromarray(pictures[number].astype(np.uint8)).convert("RGB")

    found = near_duplicates(context, retrieve(context, 2), load, load, 10)
    assert [(one.query, one.image) for one in found] == [(0, 1)]  # not what is of one colour
    lists = PictureLists(context, retrieve(context, 2), ["a", "b", "c"])
    assert lists.duplicates(found)[0]["title"] == "Two classes"


def test_a_confusion_is_shown_by_queries_and_what_they_found_first():
    context = _context([0.0, 1.0, 1.1, 1.12], [0, 0, 1, 1])
    lists = PictureLists(context, retrieve(context, 2), ["<b>", "b"])
    entry = lists.confused([ConfusedClasses(0, 1, 1, 0)])[0]
    assert entry["title"] == "<b> ↔ b"
    assert entry["text"] == "once <b> finds b first, never the other way round"
    assert [(tile["id"], tile["kind"]) for tile in entry["tiles"]] == [(1, "query"), (2, "miss")]
