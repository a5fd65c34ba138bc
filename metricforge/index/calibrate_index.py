"""Measures an index's similarities on labelled images, and writes down what was found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from metricforge.arrays import Array, Floats32, Indices
from metricforge.calibration import Calibration
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.image_collection import ImageCollection
from metricforge.errors import EmbeddingsError
from metricforge.evaluation.calibration import NEIGHBOURS, QUERIES, calibrate
from metricforge.index.snapshot import Snapshot
from metricforge.index.writing import places_of, refuse_other_types

DEPTH = 200  # neighbours among which the nearest of the own and of another class are looked for first


def calibrate_index(
    snapshot: Snapshot, model: EmbeddingModel, collection: ImageCollection | None, rate: float
) -> Calibration:
    """Calibrate the index on ``collection``, or on its own images, and write what was found into its manifest.

    An image of ``collection`` that the index holds, by its path, is searched for without itself. Images without a label
    are not searched for.

    Raises:
        EmbeddingsError: for an index without images, for images without labels or with labels of another type than in
            the index, or of too few classes.
    """
    if not len(snapshot):
        raise EmbeddingsError(f"{snapshot.index} has no images, which calibration needs; add some")
    labels = _labels_of_index(snapshot)
    if collection is None:
        vectors, classes, own = _own_images(snapshot, labels)
    else:
        if collection.labels is None:
            raise EmbeddingsError(
                f"{collection.source}: the images have no labels, which calibration needs; name a folder with one "
                "sub-folder per class, or a table with a column label"
            )
        refuse_other_types(snapshot, collection.table.select(["label"]))
        labelled = np.flatnonzero(collection.labels.is_valid().to_numpy()).tolist()
        vectors = model.embed(collection.image(number) for number in labelled)
        classes = np.array(collection.labels.drop_null().to_pylist(), dtype=object)
        paths = [collection.location(number) for number in labelled]
        known = places_of(snapshot, paths)
        own = np.array([known[path][0][:2] if path in known else (-1, -1) for path in paths])
    if not len(classes):
        source = snapshot.index if collection is None else collection.source
        raise EmbeddingsError(f"{source}: none of the images has a label, which calibration needs; label some")
    found = snapshot.search(vectors, model.learner.similarity, min(DEPTH, len(snapshot)), snapshot.allowed(None))
    impostors, genuine = np.full(len(classes), -np.inf), np.full(len(classes), -np.inf)  # (Q,)
    neighbours: list[Floats32] = []
    is_match: list[Indices] = []
    for query, hits in enumerate(found):
        others = ~((hits.segments == own[query, 0]) & (hits.rows == own[query, 1]))
        scores = hits.scores[others]
        same = np.array(
            [
                labels[number][row] == classes[query]
                for number, row in zip(hits.segments[others], hits.rows[others], strict=True)
            ],
            dtype=bool,
        )
        # where the nearest are all of the query's class, the last of them is at least as near as any impostor
        impostors[query] = scores[-1] if same.all() and len(scores) else _best(scores[~same])
        genuine[query] = _best(scores[same])
        neighbours.append(scores[:NEIGHBOURS])
        is_match.append(same[:NEIGHBOURS].astype(np.int64))
    _, numbers = np.unique(classes.astype(str), return_inverse=True)
    calibration = calibrate(
        impostors,
        genuine,
        numbers,
        np.concatenate(neighbours).astype(np.float64),
        np.concatenate(is_match),
        rate,
        gallery=len(snapshot),
    )
    manifest = snapshot.manifest
    replace(manifest, generation=manifest.generation + 1, calibration=calibration.to_json()).write(snapshot.index)
    return calibration


def _best(scores: Floats32) -> float:
    return float(scores[0]) if len(scores) else -np.inf


def _labels_of_index(snapshot: Snapshot) -> list[Array]:
    if not all("label" in table.column_names for table in snapshot.tables):
        raise EmbeddingsError(
            f"{snapshot.index}: the images have no labels, which calibration needs; name a SOURCE that has labels"
        )
    return [np.array(table["label"].to_pylist(), dtype=object) for table in snapshot.tables]


def _own_images(snapshot: Snapshot, labels: list[Array]) -> tuple[Floats32, Array, Any]:
    """Vectors (Q, D), labels (Q,) and segment and row (Q, 2) of some of the labelled images of the index."""
    places = [
        (number, row)
        for number, alive in enumerate(snapshot.alive)
        for row in (range(len(labels[number])) if alive is None else np.flatnonzero(alive).tolist())
        if labels[number][row] is not None
    ]
    chosen = np.sort(np.random.default_rng(0).permutation(len(places))[:QUERIES])
    own = np.array([places[place] for place in chosen], dtype=np.int64).reshape(-1, 2)
    vectors = np.array([snapshot.segments[number].vectors[row] for number, row in own], dtype=np.float32)
    return vectors, np.array([labels[number][row] for number, row in own], dtype=object), own
