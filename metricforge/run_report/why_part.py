"""Pairs of a query and its nearest image, with the regions of both that carry their similarity."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metricforge.arrays import Indices
from metricforge.datasets import ImageDataset
from metricforge.report.html.thumbnails import encode_picture
from metricforge.run_report.heat_maps import CELLS, SIDE, draw_heat, explain
from metricforge.run_report.opened_run import TestImages
from metricforge.run_report.retrieval import Retrieval

PAIRS = 6


def why_part(images: TestImages, retrieval: Retrieval, shown: Indices) -> list[dict[str, Any]]:
    """Explain the surest failures and successes among the queries ``shown``, as many of each.

    Empty where the model gets images that are not decoded yet, or of fewer than ``CELLS`` pixels a side.
    """
    context, dataset = images.context, images.dataset
    assert context.queries.ids is not None
    assert context.gallery.ids is not None
    parts = []
    for query in _surest(retrieval, shown):
        found = int(retrieval.found[query, 0])
        ids = int(context.queries.ids[query]), int(context.gallery.ids[found])
        pictures = [_as_seen(dataset, number) for number in ids]
        one, other = pictures
        if one is None or other is None:
            return []
        names = [dataset.class_names[int(dataset.labels[number])] for number in ids]
        sides = [
            _side(images, one, other, names[0], "query", context.device),
            _side(images, other, one, names[1], "found", context.device),
        ]
        parts.append(
            {
                "is_match": bool(retrieval.is_match[query, 0]),
                "query_name": names[0],
                "found_name": names[1],
                "similarity": sides[0]["similarity"],
                "sides": sides,
            }
        )
    return parts


def _surest(retrieval: Retrieval, shown: Indices) -> list[int]:
    sure = shown[np.argsort(-retrieval.confidence[shown], kind="stable")]
    right = retrieval.is_match[sure, 0]
    failures, successes = sure[~right][: PAIRS // 2], sure[right][: PAIRS // 2]
    return [*failures.tolist(), *successes.tolist()]


def _as_seen(dataset: ImageDataset, number: int) -> Tensor | None:
    image = dataset[number]["image"]
    usable = isinstance(image, Tensor) and image.ndim == 3 and min(image.shape[1:]) >= CELLS
    return image if usable else None


def _side(
    images: TestImages, image: Tensor, other: Tensor, name: str, role: str, device: torch.device
) -> dict[str, Any]:
    explained = explain(images.learner, image, other, device)
    seen = Image.fromarray(image.permute(1, 2, 0).numpy())
    enlarged = seen.resize([round(side * SIDE / max(seen.size)) for side in seen.size], Image.Resampling.BICUBIC)
    return {
        "name": name,
        "role": role,
        "similarity": explained.similarity,
        "without_named": explained.without_named,
        "without_others": explained.without_others,
        "picture": b64encode(encode_picture(enlarged, SIDE)).decode(),
        "heat": draw_heat(image, explained.heat),
    }
