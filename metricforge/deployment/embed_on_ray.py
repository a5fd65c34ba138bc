"""The embeddings of a collection by the processes of a Ray cluster, which share its parts."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from metricforge.deployment.embed_collection import PART_ROWS, EmbeddedCollection, origin_of, summarised, write_parts
from metricforge.deployment.embedding_model import EmbeddingModel
from metricforge.deployment.embedding_parts import Origin, finished_parts
from metricforge.deployment.image_collection import ImageCollection
from metricforge.errors import MetricForgeError, UnreadableImageError


def embed_on_ray(
    model: EmbeddingModel,
    collection: ImageCollection,
    folder: Path,
    *,
    precision: str = "float32",
    batch_size: int | None = None,
    part_rows: int = PART_ROWS,
    strict: bool = False,
    on_images: Callable[[int], object] = lambda count: None,
) -> EmbeddedCollection:
    """Write the embeddings of ``collection`` into ``folder``, as ``embed_collection`` does, on a Ray cluster.

    The cluster is the one that is connected, else that of ``RAY_ADDRESS``, else one of this machine's own. Each of its
    processes has one CPU, or one GPU if ``model`` is on a GPU, and makes whole parts. Images and ``folder`` must have
    the same paths on all machines, and MetricForge must be installed there.

    Args:
        model: embeds the images; each process gets a copy.
        collection: the images.
        folder: of the parts; created if it is missing.
        precision: what ``model`` computes in, for the record.
        batch_size: images at once; None: as many as in evaluation.
        part_rows: images per part.
        strict: whether an unreadable image is an error, also one that an earlier start left out, which is tried again;
            otherwise it is left out and listed.
        on_images: called with the number of images just finished, first with those of earlier starts.

    Raises:
        EmbeddingsError: if ``folder`` holds embeddings of another model, of other images or in other parts.
        MetricForgeError: if Ray is not installed, or ``model`` was trained on vectors.
        UnreadableImageError: with ``strict``, for an image that cannot be read.
    """
    check_ray_is_installed()
    model.refuse_unless_images()
    origin = origin_of(model, collection, precision, part_rows)
    done = finished_parts(folder, origin, whole=strict)
    taken_up = sum(len(origin.rows_of(number)) for number in done)
    on_images(taken_up)
    waiting = [number for number in range(origin.parts) if number not in done]
    if waiting:
        job = _Job(model, collection, folder.absolute(), origin, batch_size, strict)
        for images, fault in _run(job, waiting):
            if fault:
                raise UnreadableImageError(fault)
            on_images(images)
    return summarised(folder, origin, taken_up)


def check_ray_is_installed() -> None:
    """Raise MetricForgeError with the command that installs Ray, unless it is there."""
    if find_spec("ray") is None:
        raise MetricForgeError(
            "--engine ray needs the package ray, which the extra ray installs: pip install 'metricforge[ray]' (in a "
            "clone: pip install '.[ray]')"
        )


@dataclass(frozen=True)
class _Job:
    """What all processes are told."""

    model: EmbeddingModel
    collection: ImageCollection
    folder: Path
    origin: Origin
    batch_size: int | None
    strict: bool


class _PartEmbedder:
    """Embeds whole parts in a process of its own, and says how many images each has, or what stopped it."""

    def __init__(self, job: Any) -> None:
        import ray

        self._job: _Job = ray.get(job)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        job, counts, fault = self._job, [0], ""
        parts = [int(number) for number in batch["item"]]
        try:
            write_parts(
                job.model,
                job.collection,
                job.folder,
                job.origin,
                parts,
                job.batch_size,
                num_workers=0,
                strict=job.strict,
                on_images=counts.append,
            )
        except UnreadableImageError as unreadable:
            fault = str(unreadable)
        return {"images": np.array([sum(counts)]), "fault": np.array([fault])}


def _run(job: _Job, waiting: list[int]) -> Iterator[tuple[int, str]]:
    """Yield the images and the fault, if any, of each part as it is finished."""
    import ray
    import ray.data

    with _cluster():
        sent = ray.put(job)  # kept until the end: a process that is started again asks for it again
        gpus = 1 if job.model.device.type == "cuda" else 0
        free = ray.cluster_resources().get("GPU" if gpus else "CPU", 1)
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(len(waiting), math.floor(free))))
        finished = ray.data.from_items(waiting, override_num_blocks=len(waiting)).map_batches(
            _PartEmbedder,
            fn_constructor_args=(sent,),
            batch_size=1,
            compute=pool,
            num_cpus=1,
            num_gpus=gpus,
        )
        for row in finished.iter_rows():
            yield int(row["images"]), str(row["fault"])


@contextmanager
def _cluster() -> Iterator[None]:
    """Connect to a cluster unless one is connected, and disconnect again."""
    import ray
    import ray.data

    if ray.is_initialized():
        yield
        return
    ray.init(logging_level=logging.WARNING, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()
