"""Changes to an index: each writes new files beside the old ones, then a manifest that names them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from metricforge.arrays import Floats32, Indices
from metricforge.atomic_write import atomic_write
from metricforge.deployment.absolute_path import absolute_path
from metricforge.errors import EmbeddingsError
from metricforge.index.kinds import SMALL
from metricforge.index.manifest import Manifest
from metricforge.index.row_filter import matching_rows
from metricforge.index.segment import FOLDER, SEGMENT_ROWS, Segment, write_segment, write_segments
from metricforge.index.snapshot import Snapshot
from metricforge.large_arrays import ROWS_AT_ONCE

if TYPE_CHECKING:
    from metricforge.deployment import EmbeddingModel
    from metricforge.deployment.image_collection import ImageCollection
    from metricforge.index.array_similarity import ArraySimilarity
    from metricforge.interfaces import Similarity

SHOWN = 5


def add_images(snapshot: Snapshot, model: EmbeddingModel, collection: ImageCollection) -> list[int]:
    """Add the images of ``collection``; one whose path is already in the index is replaced and keeps its first id.

    Raises:
        UnreadableImageError: for an image that cannot be decoded; nothing is added then.
        EmbeddingsError: for a repeated path, or a column of another type than in the index.
    """
    paths = [collection.location(number) for number in range(len(collection))]
    _refuse_repeats(paths)
    known = places_of(snapshot, paths)
    next_id = snapshot.manifest.next_id
    ids = []
    for path in paths:
        if path in known:
            ids.append(known[path][0][2])
        else:
            ids.append(next_id)
            next_id += 1
    vectors = model.embed(collection.image(number) for number in range(len(collection)))
    replaced = [known[path][0] if path in known else None for path in paths]
    table = _with_known_columns(snapshot, index_table(collection.table, ids, paths), replaced)
    refuse_other_types(snapshot, table)
    # comparing a few vectors is as fast as a structure; compacting builds one for all
    name = write_segment(snapshot.index, [vectors], table, "flat", model.learner.similarity)
    gone = _gone(snapshot)
    for number, row, _ in (place for places in known.values() for place in places):
        gone[snapshot.segments[number].name] = np.append(gone[snapshot.segments[number].name], row)
    _commit(snapshot, segments=(*snapshot.manifest.segments, name), gone=gone, next_id=next_id)
    return ids


def remove_images(snapshot: Snapshot, ids: Sequence[int], paths: Sequence[str], condition: str | None) -> int:
    """Remove images by id, by path or by a filter, and return their number.

    Raises:
        EmbeddingsError: for an id or a path that is not in the index; nothing is removed then.
    """
    gone = _gone(snapshot)
    before = sum(map(len, gone.values()))
    absent: list[str] = []
    for image in ids:
        place = snapshot.place_of(image)
        if place is None:
            absent.append(f"the id {image}")
        else:
            name = snapshot.segments[place[0]].name
            gone[name] = np.append(gone[name], place[1])
    wanted = [str(absolute_path(Path(path))) if "://" not in path else path for path in paths]
    known = places_of(snapshot, wanted)
    for path in wanted:
        if path not in known:
            absent.append(path)
        else:
            for number, row, _ in known[path]:
                name = snapshot.segments[number].name
                gone[name] = np.append(gone[name], row)
    if absent:
        listed = ", ".join(absent[:SHOWN]) + (", ..." if len(absent) > SHOWN else "")
        raise EmbeddingsError(f"{snapshot.index} has no image with {listed}; nothing was removed")
    if condition is not None:
        for segment, table in zip(snapshot.segments, snapshot.tables, strict=True):
            rows = np.flatnonzero(matching_rows(table, condition))
            gone[segment.name] = np.append(gone[segment.name], rows)
    gone = {name: np.unique(rows) for name, rows in gone.items()}
    removed = sum(map(len, gone.values())) - before
    if removed:
        _commit(snapshot, gone=gone)
    return removed


def compact(snapshot: Snapshot, similarity: Similarity | ArraySimilarity) -> None:
    """Merge all segments into one, or as few as the index allows, without the removed images."""
    table = snapshot.table()
    kind = snapshot.manifest.kind if len(table) > SMALL or snapshot.manifest.kind == "binary" else "flat"
    largest = int(snapshot.manifest.settings.get("segment_rows", SEGMENT_ROWS))
    segments = write_segments(snapshot.index, _blocks(snapshot), table, kind, similarity, largest)
    _commit(snapshot, segments=segments, gone={})


def index_table(columns: pa.Table, ids: Sequence[int] | Indices, paths: Sequence[str] | pa.ChunkedArray) -> pa.Table:
    """Return the table of a segment: ``id``, ``path`` where each image is stored, and the other columns (n rows)."""
    rest = {name: columns[name] for name in columns.column_names if name not in ("id", "path", "vector")}
    return pa.table({"id": pa.array(ids, pa.int64()), "path": _strings(paths), **rest})


def _strings(texts: Sequence[str] | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return texts.cast(pa.large_string()) if isinstance(texts, pa.ChunkedArray) else pa.array(texts, pa.large_string())


def _with_known_columns(
    snapshot: Snapshot, table: pa.Table, replaced: Sequence[tuple[int, int, int] | None]
) -> pa.Table:
    """Add to ``table`` (n rows) the columns it lacks, with their old values for images that are ``replaced`` (n)."""
    if not any(replaced):
        return table
    for field in snapshot.tables[0].schema:
        if field.name not in table.column_names:
            values = [None if at is None else snapshot.tables[at[0]][field.name][at[1]].as_py() for at in replaced]
            table = table.append_column(field, pa.array(values, field.type))
    return table


def _blocks(snapshot: Snapshot) -> Iterator[Floats32]:
    for segment, alive in zip(snapshot.segments, snapshot.alive, strict=True):
        for start in range(0, len(segment), ROWS_AT_ONCE):
            block = np.asarray(segment.vectors[start : start + ROWS_AT_ONCE])
            yield block if alive is None else block[alive[start : start + ROWS_AT_ONCE]]


def _gone(snapshot: Snapshot) -> dict[str, Indices]:
    """The removed rows of each segment."""
    return {
        segment.name: np.empty(0, np.int64) if alive is None else np.flatnonzero(~alive)
        for segment, alive in zip(snapshot.segments, snapshot.alive, strict=True)
    }


def places_of(snapshot: Snapshot, paths: Sequence[str]) -> dict[str, list[tuple[int, int, int]]]:
    """Find segment, row and id of every image with one of ``paths``; an index may be built of a path twice."""
    wanted = pa.array(list(dict.fromkeys(paths)), pa.large_string())
    found: dict[str, list[tuple[int, int, int]]] = {}
    for number, (segment, alive) in enumerate(zip(snapshot.segments, snapshot.alive, strict=True)):
        rows = np.flatnonzero(_is_in(segment, wanted))
        for row in rows if alive is None else rows[alive[rows]]:
            place = number, int(row), int(segment.ids[row])
            found.setdefault(segment.table["path"][int(row)].as_py(), []).append(place)
    return found


def _is_in(segment: Segment, paths: pa.Array) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    flags = pa.compute.is_in(segment.table["path"].cast(pa.large_string()), value_set=paths)
    return np.asarray(flags.to_numpy(zero_copy_only=False), dtype=bool)


def _commit(
    snapshot: Snapshot,
    *,
    segments: tuple[str, ...] | None = None,
    gone: Mapping[str, Indices],
    next_id: int | None = None,
) -> None:
    """Make the next state, and remove the files that neither it nor the one before names."""
    manifest = snapshot.manifest
    generation = manifest.generation + 1
    gone = {name: rows for name, rows in gone.items() if len(rows)}
    deleted = None
    if gone:
        deleted = f"deleted-{generation}.npz"
        with atomic_write(snapshot.index / deleted) as file:
            np.savez(file, **gone)  # type: ignore[arg-type]
    following = replace(
        manifest,
        generation=generation,
        segments=manifest.segments if segments is None else segments,
        deleted=deleted,
        next_id=manifest.next_id if next_id is None else next_id,
    )
    switch_to(snapshot, following)


def switch_to(snapshot: Snapshot, following: Manifest) -> None:
    """Make ``following`` the state, and remove the files that neither it nor ``snapshot``'s state names."""
    manifest = snapshot.manifest
    following.write(snapshot.index)
    _clear_away(snapshot.index, {*manifest.segments, *following.segments}, {manifest.deleted, following.deleted})


def _clear_away(index: Path, segments: set[str], files: set[str | None]) -> None:
    """Remove the files of writers that were killed and of older states."""
    for folder in (index / FOLDER).iterdir():
        if folder.name not in segments:
            shutil.rmtree(folder, ignore_errors=True)
    for file in index.glob("deleted-*.npz"):
        if file.name not in files:
            file.unlink(missing_ok=True)


def _refuse_repeats(paths: Sequence[str]) -> None:
    seen: set[str] = set()
    twice = [path for path in paths if path in seen or seen.add(path)]  # type: ignore[func-returns-value]
    if twice:
        raise EmbeddingsError(
            f"{len(twice):,} images are listed more than once, such as {twice[0]}; list each of them once"
        )


def refuse_other_types(snapshot: Snapshot, table: pa.Table) -> None:
    """Raise EmbeddingsError for a column whose type does not fit the column of the same name in the index."""
    for segment in snapshot.segments:
        for field in segment.table.schema:
            if field.name in table.column_names and not field.type.equals(table.schema.field(field.name).type):
                try:
                    pa.concat_tables([segment.table.slice(0, 0), table.slice(0, 0)], promote_options="permissive")
                except (pa.ArrowTypeError, pa.ArrowInvalid) as fault:
                    raise EmbeddingsError(
                        f"column {field.name} is {table.schema.field(field.name).type} here and {field.type} in "
                        f"{snapshot.index}; convert it ({fault})"
                    ) from fault
