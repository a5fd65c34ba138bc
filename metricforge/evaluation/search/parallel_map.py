"""Blocks of work done by several threads, whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from metricforge.evaluation.search.blas import product_threads

MOST_THREADS = 4

Block = TypeVar("Block")
Result = TypeVar("Result")


def threads_for_blocks() -> int:
    """How many blocks it pays to work on at a time: as many as torch may use cores, but few."""
    return min(MOST_THREADS, torch.get_num_threads())


def parallel_map(work: Callable[[Block], Result], blocks: Iterable[Block], threads: int) -> Iterator[Result]:
    """``work`` of each of ``blocks``, in their order, on ``threads`` of them at a time.

    Each thread has its share of torch's threads: steps that use one core alone then keep no other waiting. A block is
    taken when it is begun, at most one is finished ahead of each that is waited for.
    """
    cores = torch.get_num_threads()
    share = max(1, cores // threads)
    if threads == 1:
        with product_threads(share):
            yield from map(work, blocks)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(share,))
    try:
        with product_threads(share), pool:
            try:
                for block in blocks:
                    waiting.append(pool.submit(work, block))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(cores)  # a thread's setting is that of later threads too
