"""Builds an index: embeds a collection, chooses how it is searched, and measures that."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from metricforge.arrays import Floats32
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.embedding_parts import read_parts, vectors_of
from metricforge.deployment.image_collection import ImageCollection
from metricforge.errors import EmbeddingsError
from metricforge.index.kinds import KINDS, LEAST_TRAINING_ROWS, choose_kind, efforts
from metricforge.index.manifest import NAME, Manifest
from metricforge.index.search_index import SearchIndex
from metricforge.index.segment import FOLDER, write_segment
from metricforge.index.snapshot import Snapshot
from metricforge.index.writing import index_table

PARTS = "parts"  # embeddings of a building that is not finished: a second start goes on
SAMPLE = 200  # images that the quality is measured on


def build_index(
    model: EmbeddingModel,
    collection: ImageCollection,
    out: Path,
    *,
    kind: str = "auto",
    memory: float | None = None,
    recall: float = 0.95,
    num_workers: int = 0,
    on_images: Callable[[int], object] = lambda count: None,
) -> SearchIndex:
    """Builds the index of ``collection`` in the folder ``out``; started again after a crash, it goes on.

    Args:
        model: embeds the images, and is kept in the index.
        collection: what is to be found.
        out: a new folder.
        kind: one of ``KINDS``, or "auto": chosen by number and ``memory``.
        memory: bytes that searching may keep in memory; None: no limit.
        recall: the share of the ten nearest that an approximate kind is to find, in 0..1.
        num_workers: processes that read images.
        on_images: called with the number of images that are embedded.

    Raises:
        EmbeddingsError: if ``out`` holds an index, or none of the images can be read.
        ValueError: for another kind, or a recall outside 0..1.
    """
    if kind not in (*KINDS, "auto"):
        raise ValueError(f"kind must be auto or one of {', '.join(KINDS)}, got {kind!r}")
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall}")
    if (out / NAME).exists():
        raise EmbeddingsError(
            f"{out} is an index already; add images to it: metricforge index add {out} SOURCE, or name another --out"
        )
    similarity = model.learner.similarity
    bundle = f"models/{model.hash}"
    if not (out / bundle).exists():
        model.save(out / bundle)
    found = embed_collection(model, collection, out / PARTS, num_workers=num_workers, on_images=on_images)
    if not found.embedded:
        raise EmbeddingsError(f"none of the {len(collection):,} images of {collection.source} can be read")
    rows = pa.concat_tables(part.drop_columns(["vector"]) for part in read_parts(out / PARTS))
    places = rows["id"].to_pylist()
    table = index_table(rows, range(len(rows)), [collection.location(place) for place in places])
    if similarity.search == "hamming":
        chosen = "binary"
    elif similarity.search is None:
        chosen = "flat" if kind == "auto" else kind
    else:
        chosen = choose_kind(len(table), model.dim, memory) if kind == "auto" else kind
    if chosen == "ivfpq" and len(table) < LEAST_TRAINING_ROWS:
        raise EmbeddingsError(
            f"kind ivfpq learns its codes from at least {LEAST_TRAINING_ROWS:,} images, and {len(table):,} are here; "
            "flat compares so few in no time"
        )
    shutil.rmtree(out / FOLDER, ignore_errors=True)  # of a building that was killed
    name = write_segment(out, _vectors(out / PARTS), table, chosen, similarity)
    manifest = Manifest(
        generation=1,
        model=bundle,
        model_hash=model.hash,
        dim=model.dim,
        kind=chosen,
        segments=(name,),
        next_id=len(table),
    )
    settings, measured = _measured(out, manifest, model, recall)
    Manifest(**{**vars(manifest), "settings": settings, "measured": measured}).write(out)
    shutil.rmtree(out / PARTS)
    return SearchIndex(out, model)


def _vectors(folder: Path) -> Iterator[Floats32]:
    return (vectors_of(part) for part in read_parts(folder, ["vector"]))


def _measured(
    out: Path, manifest: Manifest, model: EmbeddingModel, recall: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The least effort that reaches ``recall`` on a sample of the images, and what was measured with it."""
    snapshot = Snapshot(out, manifest, {})
    segment = snapshot.segments[0]
    chosen = np.sort(np.random.default_rng(0).permutation(len(segment))[:SAMPLE])
    queries = np.ascontiguousarray(segment.vectors[chosen])
    k = min(11, len(segment))  # a sampled image finds itself, which tells nothing
    similarity, allowed = model.learner.similarity, snapshot.allowed(None)
    exact = [each.rows for each in snapshot.search(queries, similarity, k, allowed, exact=True)]
    for effort in efforts(manifest.kind):
        settings = {"effort": effort}
        tried = Snapshot(out, Manifest(**{**vars(manifest), "settings": settings}), {segment.name: segment})
        started = time.perf_counter()
        found = [each.rows for each in tried.search(queries, similarity, k, allowed)]
        seconds = time.perf_counter() - started
        shares = {f"recall@{n}": _share(chosen, exact, found, n) for n in (1, 10)}
        if shares["recall@10"] >= recall:
            break
    stored = sum(file.stat().st_size for file in segment.folder.iterdir() if file.suffix != ".arrow")
    return settings, {
        **shares,
        "milliseconds_a_query": 1000 * seconds / len(queries),
        "bytes_a_vector": stored / len(segment),
        "sample": len(queries),
        "wanted_recall": recall,
    }


def _share(queries: Any, exact: list[Any], found: list[Any], n: int) -> float:
    """The mean share of the ``n`` nearest others of each query that are among the ``n`` found."""
    shares = []
    for query, right, rows in zip(queries, exact, found, strict=True):
        wanted, got = (each[each != query][:n] for each in (right, rows))
        shares.append(len(np.intersect1d(wanted, got)) / max(1, len(wanted)))
    return float(np.mean(shares))
