"""Builds an index: embeds a collection, chooses how to search it, and measures the result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metricforge.atomic_write import write_atomically
from metricforge.deployment.stored_embeddings import StoredEmbeddings
from metricforge.errors import EmbeddingsError
from metricforge.index.build_options import BuildOptions
from metricforge.index.indexed_model import IndexedModel
from metricforge.index.manifest import NAME, Manifest
from metricforge.index.measuring import measure_search
from metricforge.index.search_index import SearchIndex
from metricforge.index.segment import FOLDER, SEGMENT_ROWS, cut_evenly, write_segment
from metricforge.index.writing import index_table

# PyTorch is imported where images are embedded: embeddings alone are indexed without.
if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel
    from metricforge.deployment.image_collection import ImageCollection

PARTS = "parts"  # embeddings of an unfinished build, which a second start continues
FINISHED = "finished.json"  # its finished segments
MODELS = "models"
BEGUN = {PARTS, MODELS}  # one of them is there as soon as anything is
UNFINISHED = {*BEGUN, FOLDER, FINISHED, "unreadable.csv"}


def build_index(
    model: EmbeddingModel,
    collection: ImageCollection,
    out: Path,
    *,
    kind: str = "auto",
    memory: float | None = None,
    recall: float | None = None,
    segment_rows: int = SEGMENT_ROWS,
    num_workers: int = 0,
    on_images: Callable[[int], object] = lambda count: None,
    on_indexed: Callable[[int], object] = lambda count: None,
    on_unreadable: Callable[[Sequence[tuple[str, str]]], object] = lambda images: None,
) -> SearchIndex:
    """Build the index of ``collection`` in the folder ``out``; after a crash, a second start continues.

    It is calibrated if its model is, on as many images at least.

    Args:
        model: embeds the images; a copy is kept in the index.
        collection: the images to be found.
        out: a new folder.
        kind: see ``BuildOptions``.
        memory: see ``BuildOptions``.
        recall: see ``BuildOptions``.
        segment_rows: see ``BuildOptions``.
        num_workers: processes that read images.
        on_images: called with the number of images just embedded.
        on_indexed: called with the number of images just added to a search structure.
        on_unreadable: called with the path and fault of the images that cannot be read, if any, which are left out and
            listed in ``out``/unreadable.csv.

    Raises:
        EmbeddingsError: if ``out`` holds an index, an option cannot take effect, or none of the images can be read.
        ValueError: for another kind, or a recall outside its range.
    """
    from metricforge.deployment.embed_collection import embed_collection, unreadable_path

    options = BuildOptions(kind, memory, recall, segment_rows)
    _refuse_index(out)
    indexed = IndexedModel.of(model)
    options.planned_kind(indexed, len(collection))  # before anything slow
    found = embed_collection(model, collection, out / PARTS, num_workers=num_workers, on_images=on_images)
    if found.unreadable:
        shutil.copy(unreadable_path(out / PARTS), unreadable_path(out))
        on_unreadable(found.unreadable)
    if not found.embedded:
        raise EmbeddingsError(f"none of the {len(collection):,} images of {collection.source} can be read")
    _index(indexed, StoredEmbeddings(out / PARTS), out, options, on_indexed)
    return SearchIndex(out, model)


def index_embeddings(
    model: IndexedModel,
    stored: StoredEmbeddings,
    out: Path,
    *,
    kind: str = "auto",
    memory: float | None = None,
    recall: float | None = None,
    segment_rows: int = SEGMENT_ROWS,
    on_indexed: Callable[[int], object] = lambda count: None,
) -> SearchIndex:
    """Build the index of embeddings that ``metricforge embed`` wrote, as ``build_index`` does of images.

    Args:
        model: what is known of the model that made them: ``IndexedModel.of(model)`` or ``open_indexed_model``.
        stored: the embeddings; they stay where they are.
        out: a new folder.
        kind: see ``BuildOptions``.
        memory: see ``BuildOptions``.
        recall: see ``BuildOptions``.
        segment_rows: see ``BuildOptions``.
        on_indexed: called with the number of images just added to a search structure.

    Raises:
        EmbeddingsError: if another model made them, there are none, ``out`` holds an index, or an option cannot take
            effect.
        ValueError: for another kind, or a recall outside its range.
    """
    _refuse_index(out)
    stored.check_model(model.hash, model.source)
    if not len(stored):
        raise EmbeddingsError(f"none of the {stored.origin.rows:,} images of {stored.folder} could be read")
    _index(model, stored, out, BuildOptions(kind, memory, recall, segment_rows), on_indexed)
    return SearchIndex(out)


def _refuse_index(out: Path) -> None:
    """Raise EmbeddingsError if ``out`` holds an index, or anything but what a build leaves that was killed."""
    if (out / NAME).exists():
        raise EmbeddingsError(
            f"{out} is already an index; add images with metricforge index add {out} SOURCE, or name another --out"
        )
    found = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()
    others = sorted(found - UNFINISHED if found & BEGUN else found)
    if others:
        raise EmbeddingsError(
            f"{out} contains other files, such as {others[0]}; an index needs a folder of its own: name a new one"
        )


def _index(
    model: IndexedModel,
    stored: StoredEmbeddings,
    out: Path,
    options: BuildOptions,
    on_indexed: Callable[[int], object],
) -> None:
    """Write the segments of ``stored`` and what was measured of them, and remove what the build leaves behind."""
    kind = options.planned_kind(model, len(stored))
    bundle = f"{MODELS}/{model.hash}"
    model.keep(out / bundle)
    manifest = Manifest(
        generation=1,
        model=bundle,
        model_hash=model.hash,
        dim=model.dim,
        kind=kind,
        segments=_segments(model, stored, out, kind, options.segment_rows, on_indexed),
        next_id=len(stored),
        settings={"segment_rows": options.segment_rows},
        calibration=model.calibration_for(len(stored)),
    )
    settings, measured = measure_search(out, manifest, model.similarity, options.wanted_recall)
    Manifest(**{**vars(manifest), "settings": settings, "measured": measured}).write(out)
    (out / FINISHED).unlink()
    shutil.rmtree(out / PARTS, ignore_errors=True)


def _segments(
    model: IndexedModel,
    stored: StoredEmbeddings,
    out: Path,
    kind: str,
    segment_rows: int,
    on_indexed: Callable[[int], object],
) -> tuple[str, ...]:
    """Write the segments that an earlier start has not finished, and return the names of all."""
    plan = {"kind": kind, "segment_rows": segment_rows, **asdict(stored.origin)}
    finished = _finished(out, plan)
    for folder in (out / FOLDER).glob("*"):
        if folder.name not in finished:
            shutil.rmtree(folder)
    parts = cut_evenly(len(stored), segment_rows)
    on_indexed(sum(map(len, parts[: len(finished)])))
    for part in parts[len(finished) :]:
        columns = stored.columns(part)
        table = index_table(columns, np.arange(part.start, part.stop), columns["path"])
        finished.append(write_segment(out, stored.vectors(part), table, kind, model.similarity, on_indexed))
        write_atomically(out / FINISHED, json.dumps({"plan": plan, "segments": finished}))
    return tuple(finished)


def _finished(out: Path, plan: dict[str, Any]) -> list[str]:
    """The names of the segments that an earlier start of the same ``plan`` has finished."""
    try:
        noted = json.loads((out / FINISHED).read_bytes())
    except FileNotFoundError:
        return []
    return list(noted["segments"]) if noted["plan"] == plan else []
