"""Embeds the images of an index again with another model, and switches to it at once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from metricforge.datasets.string_column import StringColumn
from metricforge.deployment import EmbeddingModel, load_model
from metricforge.deployment.embed_collection import EmbeddedCollection, embed_collection, unreadable_path
from metricforge.deployment.embedding_parts import PATTERN, read_origin, read_parts, vectors_of
from metricforge.deployment.image_collection import ImageCollection
from metricforge.errors import EmbeddingsError, UnreadableImageError
from metricforge.index.indexed_model import IndexedModel
from metricforge.index.kinds import LEAST_TRAINING_ROWS, WITH_LISTS, choose_kind
from metricforge.index.manifest import Manifest
from metricforge.index.measuring import measure_search
from metricforge.index.planning import smallest_segment
from metricforge.index.segment import SEGMENT_ROWS, write_segments
from metricforge.index.snapshot import Snapshot
from metricforge.index.writing import switch_to
from metricforge.interfaces import Similarity

PARTS = "migration-"  # embeddings of an unfinished migration, which a second start continues
SHOWN = 5


@dataclass(frozen=True)
class Migration:
    """What a migration did.

    Args:
        embedded: images in the index now.
        taken_up: images that an earlier start had embedded.
        dropped: path and fault of each image that was removed because it could not be read.
    """

    embedded: int
    taken_up: int
    dropped: list[tuple[str, str]]


def migrate_index(
    snapshot: Snapshot,
    model: EmbeddingModel,
    *,
    drop_unreadable: bool = False,
    num_workers: int = 0,
    on_images: Callable[[int], object] = lambda count: None,
) -> Migration:
    """Make the state in which every image of ``snapshot`` has its embedding of ``model``, under the same id.

    Args:
        snapshot: the current state.
        model: the new model; a copy is kept in the index.
        drop_unreadable: remove the images that can no longer be read; otherwise they are an error.
        num_workers: processes that read images.
        on_images: called with the number of images just embedded.

    Raises:
        EmbeddingsError: if the index is of ``model`` already, or none of its images can be read.
        MetricForgeError: if ``model`` was trained on vectors.
        UnreadableImageError: for images that cannot be read; the index stays as it is.
    """
    index, manifest = snapshot.index, snapshot.manifest
    model.refuse_unless_images()
    if model.hash == manifest.model_hash:
        raise EmbeddingsError(f"{index} already uses model {model.hash}; name another model")
    bundle = f"models/{model.hash}"
    indexed = IndexedModel.of(model)
    indexed.keep(index / bundle)
    table = snapshot.table()
    # a change of the index in between, such as an image replaced, begins another migration
    parts = index / f"{PARTS}{model.hash}-{manifest.generation}"
    _forget_others(index, parts)
    if len(table):
        found = _embedded(index, model, table, parts, num_workers, on_images)
        if found.unreadable and not drop_unreadable:
            raise UnreadableImageError(_refusal(index, found, parts))
        if not found.embedded:
            raise EmbeddingsError(f"none of the {len(table):,} images of {index} can be read; nothing was changed")
        following = _following(snapshot, model, table, parts)
    else:
        found = None
        kind = _kind(snapshot, model.learner.similarity, 0, model.dim)
        kept = {key: value for key, value in manifest.settings.items() if key == "segment_rows"}
        following = replace(manifest, kind=kind, segments=(), settings=kept, measured={})
    following = replace(
        following,
        generation=manifest.generation + 1,
        model=bundle,
        model_hash=model.hash,
        dim=model.dim,
        deleted=None,
        calibration=indexed.calibration_for(len(table)),
    )
    switch_to(snapshot, following)
    shutil.rmtree(parts, ignore_errors=True)
    for folder in (index / "models").iterdir():
        if f"models/{folder.name}" not in (manifest.model, bundle):
            shutil.rmtree(folder, ignore_errors=True)
    return Migration(0, 0, []) if found is None else Migration(found.embedded, found.taken_up, found.unreadable)


def _embedded(
    index: Path,
    model: EmbeddingModel,
    table: pa.Table,
    parts: Path,
    num_workers: int,
    on_images: Callable[[int], object],
) -> EmbeddedCollection:
    """Embed the images of ``table`` into ``parts``; what an earlier start could not read is tried again."""
    for part in sorted(parts.glob(PATTERN)):
        if read_origin(part)[1]:
            part.unlink()
    unreadable_path(parts).unlink(missing_ok=True)
    paths = pa.table({"path": table["path"].cast(pa.large_string())})
    collection = ImageCollection(str(index), str(Path.cwd()), StringColumn(paths["path"]), paths)
    return embed_collection(model, collection, parts, num_workers=num_workers, on_images=on_images)


def _following(snapshot: Snapshot, model: EmbeddingModel, table: pa.Table, parts: Path) -> Manifest:
    """Write the segment of the embeddings in ``parts``, and return the state with it, measured."""
    rows = np.concatenate([part["id"].to_numpy() for part in read_parts(parts, ["id"])])  # (n,), of ``table``
    similarity = model.learner.similarity
    kind = _kind(snapshot, similarity, len(rows), model.dim)
    blocks = (vectors_of(part) for part in read_parts(parts, ["vector"]))
    largest = int(snapshot.manifest.settings.get("segment_rows", SEGMENT_ROWS))
    too_few = smallest_segment(len(rows), largest) < LEAST_TRAINING_ROWS
    structure = "flat" if kind in WITH_LISTS and too_few else kind
    kept = table.take(pa.array(rows))
    blocks = (block for block in blocks if len(block))
    segments = write_segments(snapshot.index, blocks, kept, structure, similarity, largest)
    following = replace(
        snapshot.manifest, kind=kind, segments=segments, deleted=None, settings={"segment_rows": largest}
    )
    recall = float(snapshot.manifest.measured.get("wanted_recall", 0.95))
    settings, measured = measure_search(snapshot.index, following, similarity, recall)
    return replace(following, settings=settings, measured=measured)


def _kind(snapshot: Snapshot, similarity: Similarity, count: int, dim: int) -> str:
    """Keep the index's kind, unless it is the old or the new model that asks for binary codes."""
    kind = snapshot.manifest.kind
    if similarity.search == "hamming":
        return "binary"
    if kind == "binary":
        before = load_model(snapshot.index / snapshot.manifest.model, device="cpu").learner.similarity
        if before.search == "hamming":
            return "flat" if similarity.search is None else choose_kind(count, dim, None)
    return kind


def _forget_others(index: Path, parts: Path) -> None:
    for folder in index.glob(f"{PARTS}*"):
        if folder != parts:
            shutil.rmtree(folder, ignore_errors=True)


def _refusal(index: Path, found: EmbeddedCollection, parts: Path) -> str:
    shown = "; ".join(f"{path} ({fault})" for path, fault in found.unreadable[:SHOWN])
    more = "; ..." if len(found.unreadable) > SHOWN else ""
    return (
        f"{len(found.unreadable):,} images of {index} cannot be read, and nothing was changed: {shown}{more} "
        f"(all of them: {unreadable_path(parts)}); repair them, or remove them from the index with --drop-unreadable"
    )
