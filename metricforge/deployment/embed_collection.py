"""From a collection to Parquet parts of embeddings; a run that was killed continues when it is started again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from metricforge.arrays import Floats32
from metricforge.atomic_write import atomic_write
from metricforge.csv_cells import text_cell
from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.embedding_parts import Origin, finished_parts, part_path, read_origin, write_part
from metricforge.deployment.given_images import GivenImages
from metricforge.deployment.image_collection import ImageCollection
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.loading.worker_sockets import check_worker_sockets
from metricforge.errors import DatasetError, UnreadableImageError

PART_ROWS = 4096


@dataclass(frozen=True)
class EmbeddedCollection:
    """What a folder of parts holds now.

    Args:
        origin: what made them.
        embedded: images with an embedding, including those of earlier starts.
        taken_up: images that an earlier start had finished.
        unreadable: path and fault of each image that could not be read.
    """

    origin: Origin
    embedded: int
    taken_up: int
    unreadable: list[tuple[str, str]]


def embed_collection(
    model: EmbeddingModel,
    collection: ImageCollection,
    folder: Path,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    num_workers: int = 0,
    part_rows: int = PART_ROWS,
    strict: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
    processes: Processes | None = None,
) -> EmbeddedCollection:
    """Write the embeddings of ``collection`` into ``folder``, in parts of ``part_rows`` images.

    Holds one part in memory at a time. Finished parts are kept, so that a second start completes what the first one
    began; each of W processes makes every W-th part.

    Args:
        model: embeds the images.
        collection: the images.
        folder: of the parts; created if it is missing.
        precision: what ``model`` computes in, for the record.
        batch_size: images at once; None: as many as in evaluation, which gives the same embeddings bit for bit.
        num_workers: processes that read images; 0 reads them in this process, between batches.
        part_rows: images per part.
        strict: whether an unreadable image is an error, also one that an earlier start left out, which is tried again;
            otherwise it is left out and listed.
        on_images: called with the number of images just finished, first with those of earlier starts.
        processes: which processes share the work; None: this one alone.

    Raises:
        EmbeddingsError: if ``folder`` holds embeddings of another model, of other images or in other parts.
        MetricForgeError: if ``model`` was trained on vectors; nothing is written then.
        UnreadableImageError: with ``strict``, for the first image that cannot be read.
    """
    model.refuse_unless_images()
    processes = Processes() if processes is None else processes
    folder.mkdir(parents=True, exist_ok=True)  # a fault of its path is told before anything slow
    origin = origin_of(model, collection, precision, part_rows)
    done = finished_parts(folder, origin, whole=strict)
    taken_up = sum(len(origin.rows_of(number)) for number in done)
    on_images(taken_up)
    # chosen by number, so that no part is left out if processes see different parts as done
    waiting = [number for number in range(processes.rank, origin.parts, processes.world_size) if number not in done]
    write_parts(model, collection, folder, origin, waiting, batch_size, num_workers, strict, on_images)
    processes.wait()
    return summarised(folder, origin, taken_up, writes=processes.is_main)


def origin_of(model: EmbeddingModel, collection: ImageCollection, precision: str, part_rows: int) -> Origin:
    """What makes the parts of ``collection``."""
    return Origin(
        model=model.hash,
        dim=model.dim,
        similarity=model.description.architecture["similarity"]["type"],
        precision=precision,
        source=_digest(collection),
        rows=len(collection),
        part_rows=part_rows,
    )


def write_parts(
    model: EmbeddingModel,
    collection: ImageCollection,
    folder: Path,
    origin: Origin,
    waiting: Sequence[int],
    batch_size: int | None,
    num_workers: int,
    strict: bool,
    on_images: Callable[[int], object],
) -> None:
    """Embed the parts ``waiting`` of ``collection`` and write them into ``folder``; see ``embed_collection``."""
    for number, rows in _embedded_parts(model, collection, origin, waiting, batch_size, num_workers, strict):
        folder.mkdir(parents=True, exist_ok=True)
        read = np.array([index for index, _ in rows.vectors], dtype=np.int64)  # (n,)
        vectors = (
            np.stack([vector for _, vector in rows.vectors]) if len(read) else np.empty((0, model.dim), np.float32)
        )
        write_part(folder, number, origin, read, collection.rows(read), vectors, rows.unreadable)
        on_images(len(read) + len(rows.unreadable))


def summarised(folder: Path, origin: Origin, taken_up: int, *, writes: bool = True) -> EmbeddedCollection:
    """What ``folder`` holds now; if this process ``writes``, unreadable images are listed in a file there."""
    summary = _summary(folder, origin, taken_up)
    if summary.unreadable and writes:
        table = pa.table(
            {
                name: [text_cell(row[place]) for row in summary.unreadable]
                for place, name in enumerate(("path", "fault"))
            }
        )
        with atomic_write(unreadable_path(folder)) as file:
            csv.write_csv(table, file)
    elif writes:
        unreadable_path(folder).unlink(missing_ok=True)  # of an earlier start
    return summary


def unreadable_path(folder: Path) -> Path:
    """The file that lists the unreadable images, if there are any."""
    return folder / "unreadable.csv"


def first_images(collection: ImageCollection, model: EmbeddingModel, count: int) -> list[Tensor]:
    """Return the readable ones of the first ``count`` images, as ``model.embed_pixels`` takes them."""
    read = _ReadImages(collection, model)
    images = (read[index][1] for index in range(min(count, len(collection))))
    return [image for image in images if image is not None]


@dataclass
class _Rows:
    """The images of an unfinished part: those embedded so far, and those that cannot be read."""

    vectors: list[tuple[int, Floats32]]
    unreadable: list[tuple[str, str]]


def _embedded_parts(
    model: EmbeddingModel,
    collection: ImageCollection,
    origin: Origin,
    waiting: Sequence[int],
    batch_size: int | None,
    num_workers: int,
    strict: bool,
) -> Iterator[tuple[int, _Rows]]:
    """Yield each of the parts ``waiting`` once it is embedded, while images of the next are read."""
    size = batch_size or model.description.batch_size
    batches, part_of_batch = [], []
    for number in waiting:
        indices = origin.rows_of(number)
        cut = [list(indices[start : start + size]) for start in range(0, len(indices), size)]
        batches += cut
        part_of_batch += [number] * len(cut)
    check_worker_sockets(num_workers)
    loader: DataLoader[Any] = DataLoader(
        _ReadImages(collection, model),
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=_collated,
        pin_memory=model.device.type == "cuda",
        worker_init_fn=_one_thread,
    )
    rows = _Rows([], [])
    for place, (read, images, faults) in enumerate(loader):
        if strict and faults:
            raise UnreadableImageError(faults[0][1])
        rows.unreadable += faults
        rows.vectors += zip(read, model.embed_pixels(images), strict=True)
        if place + 1 == len(batches) or part_of_batch[place + 1] != part_of_batch[place]:
            yield part_of_batch[place], rows
            rows = _Rows([], [])


class _ReadImages(Dataset[tuple[int, Tensor | None, tuple[str, str] | None]]):
    """The images of a collection as the model takes them, or why they cannot be read."""

    def __init__(self, collection: ImageCollection, model: EmbeddingModel) -> None:
        self._collection = collection
        self._transform = model.transform
        self._fast = model.description.decode == "fast"

    def __len__(self) -> int:
        return len(self._collection)

    def __getitem__(self, index: int) -> tuple[int, Tensor | None, tuple[str, str] | None]:
        try:
            given = GivenImages([self._collection.image(index)], self._transform)
            given.reduced_decoding = self._fast
            return index, given[0]["image"], None
        except DatasetError as fault:  # includes a tar shard that is absent or was changed
            told = str(fault).split("; ")[0].replace("images[0] (bytes)", self._collection.location(index))
            return index, None, (self._collection.location(index), told)


def _collated(items: Sequence[tuple[int, Tensor | None, tuple[str, str] | None]]) -> tuple[list[int], Any, list[Any]]:
    read = [(index, image) for index, image, _ in items if image is not None]
    return [index for index, _ in read], [image for _, image in read], [fault for *_, fault in items if fault]


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _digest(collection: ImageCollection) -> str:
    digest = hashlib.sha256(collection.root.encode())  # the parts say where each image is stored
    collection.paths.add_to(digest)
    if collection.labels is not None:
        digest.update("\0".join(map(str, collection.labels.to_pylist())).encode())
    return digest.hexdigest()[:16]


def _summary(folder: Path, origin: Origin, taken_up: int) -> EmbeddedCollection:
    unreadable = []
    done = finished_parts(folder, origin)
    for number in sorted(done):
        unreadable += read_origin(part_path(folder, number))[1]
    images = sum(len(origin.rows_of(number)) for number in done)
    return EmbeddedCollection(origin, images - len(unreadable), taken_up, unreadable)
