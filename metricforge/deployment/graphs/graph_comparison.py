"""Compares a graph with the model that it was made of, over real images, before anyone relies on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from metricforge.arrays import Floats32, Indices
from metricforge.errors import MetricForgeError

BATCHES = (1, 7, 64)
MOST_DIFFERENCE = 1e-3  # of the largest number of an embedding; float32 rounding makes some 1e-6
MOST_WITH_RESIZING = 0.05  # where the graph resizes, whose rounding moves pixels by a level or two of 255

Embed = Callable[[list[Tensor]], Floats32]
Scores = Callable[[Floats32, Floats32], Floats32]


def compare(
    of_model: Embed,
    of_graph: Embed,
    images: Sequence[Tensor],
    labels: Indices | None,
    *,
    scores_of_model: Scores,
    scores_of_graph: Scores,
    resizes: bool = False,
    file: str = "the graph",
) -> dict[str, Any]:
    """The largest difference of a number in batches of ``BATCHES``, and Recall@1 by either, as JSON's types.

    Args:
        of_model: embeds a batch of images of one size.
        of_graph: the same, by the graph.
        images: uint8 (3, H, W); batches larger than there are of one size take images several times.
        labels: their classes (N,); None: no Recall@1.
        scores_of_model: similarities (N, M) of two sets of embeddings.
        scores_of_graph: the same, by the graph.
        resizes: whether the graph prepares images itself.
        file: what an error calls the graph.

    Raises:
        MetricForgeError: if the two differ by more than rounding, or find other nearest images.
    """
    by_size: dict[tuple[int, ...], list[Tensor]] = {}
    for image in images:
        by_size.setdefault(tuple(image.shape), []).append(image)
    commonest = max(by_size.values(), key=len)
    model_rows = np.concatenate([of_model([image]) for image in images])
    graph_rows = np.concatenate([of_graph([image]) for image in images])
    largest = {1: float(np.abs(model_rows - graph_rows).max())}
    for size in BATCHES[1:]:
        batch = [commonest[number % len(commonest)] for number in range(size)]
        largest[size] = float(np.abs(of_model(batch) - of_graph(batch)).max())
    found: dict[str, Any] = {
        "images": len(images),
        "batches": list(BATCHES),
        "largest_difference": max(largest.values()),
        "largest_difference_by_batch": {str(size): value for size, value in largest.items()},
    }
    scale = float(np.abs(model_rows).max()) or 1.0
    allowed = scale * (MOST_WITH_RESIZING if resizes else MOST_DIFFERENCE)
    if not found["largest_difference"] <= allowed:
        raise MetricForgeError(
            f"{file} does not compute what the model does: their embeddings of {len(images)} images differ by up to "
            f"{found['largest_difference']:.3g}, where rounding explains {allowed:.3g}; nothing was written. Export "
            "another --format, or report it with the name of the backbone"
        )
    if labels is not None and (np.bincount(labels)[labels] > 1).any():
        recalls = [
            recall_at_1(scores(rows, rows), labels)
            for rows, scores in ((model_rows, scores_of_model), (graph_rows, scores_of_graph))
        ]
        found["recall_at_1_of_model"], found["recall_at_1"] = recalls
        if abs(recalls[0] - recalls[1]) > (0.02 if resizes else 0):
            raise MetricForgeError(
                f"{file} finds other nearest images than the model: Recall@1 on {len(images)} images is "
                f"{recalls[1]:.4f} instead of {recalls[0]:.4f}; nothing was written. Give other --images if "
                "these hold exact duplicates of different labels, or report it with the name of the backbone"
            )
    return found


def compare_scores(of_model: Floats32, of_graph: Floats32, file: str) -> dict[str, Any]:
    """The largest difference between similarities (N, N) of the same embeddings, as JSON's types.

    Raises:
        MetricForgeError: if they differ by more than rounding.
    """
    largest = float(np.abs(of_model - of_graph).max())
    allowed = MOST_DIFFERENCE * (float(np.abs(of_model).max()) or 1.0)
    if not largest <= allowed:
        raise MetricForgeError(
            f"{file} does not compute what the model's similarity does: they differ by up to {largest:.3g}, where "
            f"rounding explains {allowed:.3g}; nothing was written. Export another --format, or report it with the "
            "similarity's name"
        )
    return {"images": len(of_model), "largest_difference": largest}


def recall_at_1(scores: Floats32, labels: Indices) -> float:
    """The share of images with a match whose most similar other image, by ``scores`` (N, N), is of their class."""
    others = scores.astype(np.float64)
    np.fill_diagonal(others, -np.inf)
    hit = labels[others.argmax(axis=1)] == labels
    return float(hit[np.bincount(labels)[labels] > 1].mean())
