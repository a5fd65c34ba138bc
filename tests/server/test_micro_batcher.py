"""Requests that wait are embedded together, in order, and no fault of one reaches another."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import torch

from metricforge.server.micro_batcher import MicroBatcher
from metricforge.server.refused_error import RefusedError


def images(numbers):
    return [torch.full((3, 1, 1), number, dtype=torch.uint8) for number in numbers]


def values(batch):
    return np.array([[float(image[0, 0, 0])] for image in batch], dtype=np.float32)


def run(work, embed, **options):
    async def inside():
        batcher = MicroBatcher(embed, **{"batch_size": 4, "waiting": 100, **options})
        batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(inside())


def test_everybody_gets_the_embedding_of_their_own_image():
    async def work(batcher):
        return await asyncio.gather(*(batcher.embed(images([number])) for number in range(50)))

    assert [float(vector[0, 0]) for vector in run(work, values)] == list(range(50))


def test_what_waits_is_embedded_together_up_to_the_batch_size():
    sizes: list[int] = []
    first, go = threading.Event(), threading.Event()

    def slow(batch):
        sizes.append(len(batch))
        first.set()
        assert go.wait(10)
        return values(batch)

    async def work(batcher):
        begun = asyncio.ensure_future(batcher.embed(images([0])))
        await asyncio.to_thread(first.wait, 10)
        others = [asyncio.ensure_future(batcher.embed(images([number]))) for number in range(1, 10)]
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(begun, *others)

    run(work, slow)
    assert sizes == [1, 4, 4, 1]


def test_a_fault_of_one_image_reaches_nobody_else():
    def embed(batch):
        if any(image[0, 0, 0] == 2 for image in batch):
            raise ValueError("the second")
        return values(batch)

    async def work(batcher):
        return await asyncio.gather(*(batcher.embed(images([n])) for n in range(4)), return_exceptions=True)

    found = run(work, embed)
    assert isinstance(found[2], ValueError)
    assert [float(found[number][0, 0]) for number in (0, 1, 3)] == [0, 1, 3]


def test_more_than_may_wait_are_refused_and_told_to_come_back():
    go = threading.Event()

    def slow(batch):
        assert go.wait(10)
        return values(batch)

    async def work(batcher):
        begun = [asyncio.ensure_future(batcher.embed(images([number]))) for number in range(4)]
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="wait already") as caught:
            await batcher.embed(images(range(5)))
        go.set()
        await asyncio.gather(*begun)
        return caught.value

    refused = run(work, slow, waiting=4)
    assert refused.status == 503
    assert refused.headers == {"Retry-After": "1"}


def test_a_client_that_has_gone_is_not_worked_for():
    seen: list[float] = []
    go = threading.Event()

    def slow(batch):
        seen.extend(values(batch)[:, 0].tolist())
        assert go.wait(10)
        return values(batch)

    async def work(batcher):
        begun = asyncio.ensure_future(batcher.embed(images([0])))
        await asyncio.sleep(0.05)
        gone = asyncio.ensure_future(batcher.embed(images([1])))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0.05)
        go.set()
        await batcher.embed(images([2]))
        await begun

    run(work, slow)
    assert seen == [0, 2]


def test_large_images_that_wait_are_bounded_by_their_bytes():
    go = threading.Event()

    def slow(batch):
        assert go.wait(10)
        return values(batch)

    async def work(batcher):
        begun = [asyncio.ensure_future(batcher.embed(images([0])))]
        await asyncio.sleep(0.05)  # it is embedded, and waits no longer
        begun.append(asyncio.ensure_future(batcher.embed(images(range(3)))))  # 9 bytes, before which nothing waits
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="images of 9 bytes wait already"):
            await batcher.embed(images([4]))
        go.set()
        await asyncio.gather(*begun)
        return await batcher.embed(images([5]))

    assert run(work, slow, most_bytes=8) == [[5]]
