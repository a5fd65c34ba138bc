"""What the server does for each request, without HTTP."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from starlette.datastructures import UploadFile

from metricforge.arrays import Bytes, Floats32
from metricforge.index import Hit, SearchIndex
from metricforge.server.answers import Added, Column, Guess, Guesses, Health, Neighbour, Neighbours, Removed
from metricforge.server.collection_pictures import CollectionPictures, Picture, shown_name
from metricforge.server.fastest_batch import fastest_batch
from metricforge.server.limits import Limits
from metricforge.server.measures import Measures
from metricforge.server.micro_batcher import MicroBatcher
from metricforge.server.public_filter import check_filter
from metricforge.server.refused_error import RefusedError
from metricforge.server.uploaded_image import Crop, format_of, prepared
from metricforge.server.uploads import Upload, Uploads

if TYPE_CHECKING:
    from torch import Tensor

THREADS = 4  # that decode and search
LARGEST_BATCH = 64
EXAMPLE = np.full((512, 512, 3), 128, dtype=np.uint8)  # the picture that batch sizes are tried with
HIDDEN = ("id", "path")

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Service:
    """Answers from an index. ``start`` and ``stop`` it in the event loop that uses it.

    Args:
        index: what is searched.
        limits: of a request.
        measures: where batches are counted.
    """

    def __init__(self, index: SearchIndex, limits: Limits, measures: Measures) -> None:
        self.index = index
        self.limits = limits
        self.measures = measures
        self.uploads = Uploads(index)
        self.pictures = CollectionPictures(index, self.uploads, limits.pixels)
        self._changing = asyncio.Lock()

    def start(self) -> None:
        """Begin to answer."""
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="serve")
        self._batcher = MicroBatcher(
            self._embed_pixels,
            fastest_batch(self._embed_pixels, self.index.embedder.prepare(EXAMPLE), LARGEST_BATCH),
            self.limits.waiting,
            self.measures.batch_images.observe,
        )
        self._batcher.start()

    async def stop(self) -> None:
        """End."""
        await self._batcher.stop()
        self._threads.shutdown(cancel_futures=True)

    def _embed_pixels(self, images: list[Any]) -> Floats32:
        return self.index.embedder.embed_pixels(images)

    async def of_one_model(self, answer: Callable[[], Awaitable[Result]]) -> Result:
        """What ``answer`` gives, which begins again if the index is migrated to another model meanwhile."""
        while True:
            before = self.index.manifest.model_hash
            try:
                given = await answer()
            except Exception:  # such as embeddings of the old model's size
                if self.index.manifest.model_hash == before:
                    raise
                continue
            if self.index.manifest.model_hash == before:
                return given

    async def embed(self, files: Sequence[UploadFile], crop: str | None) -> Floats32:
        """Embeddings (N, D) of the files."""
        area = None if crop is None else Crop.parse(crop)
        images = [await self._in_thread(self._prepared, file, area) for file in files]
        return await self._batcher.embed(images)

    def _prepared(self, file: UploadFile, crop: Crop | None) -> Tensor | Bytes:
        file.file.seek(0)
        return prepared(file.file.read(), self.index.embedder, self.limits.pixels, crop)

    async def search(self, vector: Floats32, k: int, condition: str | None, without: int | None = None) -> Neighbours:
        """The neighbours of ``vector`` (D,), but image ``without``."""
        if k > self.limits.k:
            raise RefusedError(422, f"k is {k}, at most {self.limits.k} neighbours are found")
        return await self._in_thread(self._search, vector, k, condition, without)

    def _search(self, vector: Floats32, k: int, condition: str | None, without: int | None) -> Neighbours:
        condition = condition.strip() or None if condition else None
        if condition is not None:
            check_filter(condition)
        found = self.index.search(vector[None], k if without is None else k + 1, condition)[0]
        hits = [hit for hit in found if hit.id != without][:k]
        return Neighbours(hits=[self._neighbour(hit) for hit in hits], match=self._is_match(hits))

    def _neighbour(self, hit: Hit) -> Neighbour:
        values = hit.to_json()
        metadata = {key: value for key, value in values["metadata"].items() if key not in HIDDEN}
        return Neighbour(
            id=hit.id,
            score=hit.score,
            name=_readable(shown_name(hit.path, self.uploads)),
            label=_as_json(values["label"]),
            probability=hit.probability,
            metadata={_readable(key): _as_json(value) for key, value in metadata.items()},
        )

    def _is_match(self, hits: Sequence[Hit]) -> bool | None:
        if not hits:
            return None if self.index.manifest.calibration is None else False
        return hits[0].is_match

    async def vector_of(self, image: int) -> Floats32:
        """The embedding (D,) of an image of the index."""
        if self.index.snapshot().place_of(image) is None:
            raise RefusedError(404, f"the index has no image {image}")
        return await self._in_thread(self.index.vector, image)

    def given_vector(self, numbers: Sequence[float]) -> Floats32:
        """An embedding (D,) that a client sent."""
        dim = self.index.manifest.dim
        if len(numbers) != dim:
            raise RefusedError(422, f"vector has {len(numbers):,} numbers, the index's embeddings have {dim}")
        with np.errstate(over="ignore"):
            vector = np.asarray(numbers, dtype=np.float32)
            length = np.square(vector).sum()
        if not np.isfinite(length):
            raise RefusedError(422, "vector must have finite numbers of a size that float32 can hold")
        return vector

    async def classify(self, vector: Floats32, k: int) -> Guesses:
        """The likeliest training classes of the embedding ``vector`` (D,)."""
        if not self.index.embedder.classifies:
            reason = "its loss has no classifier of the training classes, or PyTorch is not installed"
            raise RefusedError(409, f"the model cannot classify: {reason}")
        guesses = (await self._in_thread(self.index.model.classify, vector[None], min(k, self.limits.k)))[0]
        return Guesses(classes=[Guess(name=_readable(each.name), probability=each.probability) for each in guesses])

    async def add(self, files: Sequence[UploadFile], label: str | None) -> Added:
        """Add the files."""
        async with self._changing:
            return Added(ids=await self._in_thread(self._add, files, label))

    def _add(self, files: Sequence[UploadFile], label: str | None) -> list[int]:
        uploads = []
        for file in files:
            file.file.seek(0)
            content = file.file.read()
            kind = format_of(content, self.limits.pixels)
            prepared(content, self.index.embedder, self.limits.pixels)  # a damaged one is refused before any is written
            uploads.append(Upload(file.filename or "image", content, kind))
        return self.uploads.add(uploads, label)

    async def remove(self, ids: Sequence[int]) -> Removed:
        """Remove images."""
        async with self._changing:
            return Removed(removed=await self._in_thread(self._remove, ids))

    def _remove(self, ids: Sequence[int]) -> int:
        snapshot = self.index.snapshot()
        absent = [image for image in ids if snapshot.place_of(image) is None]
        if absent:
            raise RefusedError(404, f"the index has no image {absent[0]}; nothing was removed")
        return self.uploads.remove(ids)

    async def picture(self, image: int, size: int) -> Picture:
        """A small JPEG of an image of the index."""
        return await self._in_thread(self.pictures.get, image, size)

    def health(self, changeable: bool) -> Health:
        """What is served."""
        snapshot, model = self.index.snapshot(), self.index.embedder
        schema = snapshot.tables[0].schema if snapshot.tables else []
        return Health(
            status="ok",
            images=len(snapshot),
            dim=snapshot.manifest.dim,
            model=snapshot.manifest.model_hash,
            calibrated=snapshot.manifest.calibration is not None,
            classifies=model.classifies,
            changeable=changeable,
            columns=[
                Column(name=_readable(each.name), type=str(each.type)) for each in schema if each.name not in HIDDEN
            ],
            most_k=self.limits.k,
            most_bytes=self.limits.body,
        )

    def metrics(self) -> bytes:
        """What Prometheus reads."""
        self.measures.waiting_images.set(self._batcher.waiting)
        self.measures.index_images.set(len(self.index))
        return self.measures.text()

    async def _in_thread(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))


def _readable(text: str) -> str:
    """``text`` as JSON can carry it, be it of a file name that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _as_json(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return _readable(value) if isinstance(value, str) else value
