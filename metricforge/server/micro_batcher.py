"""Embeds the images of many requests together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic

import numpy as np

from metricforge.arrays import Floats32
from metricforge.server.fastest_batch import Prepared
from metricforge.server.refused_error import busy

MOST_BYTES = 2**28


class MicroBatcher(Generic[Prepared]):
    """Embeds whatever waits as one batch, one batch after the other.

    No image waits for others to come: while one batch is embedded, the next one gathers. ``start`` and ``stop`` it in
    the event loop that uses it.

    Args:
        embed: prepared images to embeddings (B, D); called in a thread of its own.
        batch_size: of the largest batch.
        waiting: images that may wait; more are refused.
        on_batch: called with the number of images of each batch.
        most_bytes: of the images that may wait; more are refused, but a request that nothing waits before never is.
    """

    def __init__(
        self,
        embed: Callable[[list[Prepared]], Floats32],
        batch_size: int,
        waiting: int,
        on_batch: Callable[[int], object] = lambda images: None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._embed = embed
        self._batch_size = batch_size
        self._queue: asyncio.Queue[tuple[Prepared, asyncio.Future[Floats32]]] = asyncio.Queue(waiting)
        self._on_batch = on_batch
        self._most_bytes = most_bytes
        self._bytes = 0  # of the images that wait
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to embed."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End, when the batch that is embedded now is done; images that wait are given up."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        while not self._queue.empty():
            self._queue.get_nowait()[1].cancel()
        self._thread.shutdown()

    @property
    def waiting(self) -> int:
        """Images that wait now."""
        return self._queue.qsize()

    async def embed(self, images: Sequence[Prepared]) -> Floats32:
        """Embeddings (N, D) of prepared ``images``, N >= 1.

        Raises:
            RefusedError: if there is no room for all of them.
        """
        if self._queue.qsize() + len(images) > self._queue.maxsize:
            raise busy(f"{self._queue.qsize()} images wait already; try again in a second")
        size = sum(image.nbytes for image in images)
        if self._bytes and self._bytes + size > self._most_bytes:
            raise busy(f"images of {self._bytes:,} bytes wait already; try again in a second")
        self._bytes += size
        loop = asyncio.get_running_loop()
        done: list[asyncio.Future[Floats32]] = [loop.create_future() for _ in images]
        for image, vector in zip(images, done, strict=True):
            self._queue.put_nowait((image, vector))
        return np.stack(await asyncio.gather(*done))

    async def _work(self) -> None:
        while True:
            batch = [await self._queue.get()]
            while len(batch) < self._batch_size and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            self._bytes -= sum(image.nbytes for image, _ in batch)
            batch = [(image, vector) for image, vector in batch if not vector.cancelled()]  # its client has gone
            if batch:
                self._on_batch(len(batch))
                await self._embed_batch(batch)

    async def _embed_batch(self, batch: list[tuple[Prepared, asyncio.Future[Floats32]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            vectors = await loop.run_in_executor(self._thread, self._embed, [image for image, _ in batch])
        except asyncio.CancelledError:
            for _, vector in batch:
                vector.cancel()
            raise
        except Exception as fault:  # whatever the model raises is its image's, and no other's
            if len(batch) > 1:
                for one in batch:
                    await self._embed_batch([one])
            elif not batch[0][1].done():
                batch[0][1].set_exception(fault)
            return
        for (_, done), vector in zip(batch, vectors, strict=True):
            if not done.done():
                done.set_result(vector)
