"""Builds an index: embeds a collection, chooses how to search it, and measures the result."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from metricforge.arrays import Floats32
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.embedding_parts import read_parts, vectors_of
from metricforge.deployment.image_collection import ImageCollection
from metricforge.errors import EmbeddingsError
from metricforge.index.calibrate_index import calibration_by_model
from metricforge.index.kept_model import keep_model
from metricforge.index.manifest import NAME, Manifest
from metricforge.index.measuring import measure_search
from metricforge.index.planning import RECALL, plan_kind
from metricforge.index.search_index import SearchIndex
from metricforge.index.segment import FOLDER, write_segment
from metricforge.index.writing import index_table

PARTS = "parts"  # embeddings of an unfinished build, which a second start continues


def build_index(
    model: EmbeddingModel,
    collection: ImageCollection,
    out: Path,
    *,
    kind: str = "auto",
    memory: float | None = None,
    recall: float | None = None,
    num_workers: int = 0,
    on_images: Callable[[int], object] = lambda count: None,
) -> SearchIndex:
    """Build the index of ``collection`` in the folder ``out``; after a crash, a second start continues.

    It is calibrated if its model is, on as many images at least.

    Args:
        model: embeds the images; a copy is kept in the index.
        collection: the images to be found.
        out: a new folder.
        kind: one of ``KINDS``, or "auto": chosen by the number of images and ``memory``.
        memory: bytes that searching may keep in memory; None: no limit.
        recall: share of the ten nearest images that an approximate kind must find, above 0 and at most 1; None: 0.95.
        num_workers: processes that read images.
        on_images: called with the number of images just embedded.

    Raises:
        EmbeddingsError: if ``out`` holds an index, an option cannot take effect, or none of the images can be read.
        ValueError: for another kind, or a recall outside its range.
    """
    if (out / NAME).exists():
        raise EmbeddingsError(
            f"{out} is already an index; add images with metricforge index add {out} SOURCE, or name another --out"
        )
    similarity = model.learner.similarity
    plan_kind(kind, memory, recall, similarity, len(collection), model.dim)  # before anything slow
    bundle = f"models/{model.hash}"
    keep_model(model, out / bundle)
    found = embed_collection(model, collection, out / PARTS, num_workers=num_workers, on_images=on_images)
    if not found.embedded:
        raise EmbeddingsError(f"none of the {len(collection):,} images of {collection.source} can be read")
    rows = pa.concat_tables(part.drop_columns(["vector"]) for part in read_parts(out / PARTS))
    table = index_table(rows, range(len(rows)), rows["path"])
    chosen = plan_kind(kind, memory, recall, similarity, len(table), model.dim)
    shutil.rmtree(out / FOLDER, ignore_errors=True)  # of a build that was killed
    name = write_segment(out, _vectors(out / PARTS), table, chosen, similarity)
    manifest = Manifest(
        generation=1,
        model=bundle,
        model_hash=model.hash,
        dim=model.dim,
        kind=chosen,
        segments=(name,),
        next_id=len(table),
        calibration=calibration_by_model(model, len(table)),
    )
    settings, measured = measure_search(out, manifest, similarity, RECALL if recall is None else recall)
    Manifest(**{**vars(manifest), "settings": settings, "measured": measured}).write(out)
    shutil.rmtree(out / PARTS)
    return SearchIndex(out, model)


def _vectors(folder: Path) -> Iterator[Floats32]:
    return (vectors_of(part) for part in read_parts(folder, ["vector"]))
