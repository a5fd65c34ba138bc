"""Processes find those that started with them, whatever earlier ones left in the store that they share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from metricforge.engine.distributed.meeting import meet
from tests.shared_store import SharedStore


def meet_all(store, count):
    barrier = threading.Barrier(count)

    def come(rank):
        barrier.wait()
        return meet(store, rank, count, 20)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(come, range(count)))


def test_all_get_one_name_and_the_next_ones_another_although_the_store_remembers():
    store = SharedStore()
    names = [meet_all(store, 4) for _ in range(3)]
    assert [len(set(each)) for each in names] == [1, 1, 1]
    assert len({each[0] for each in names}) == 3


def test_a_process_that_said_hello_and_died_is_not_waited_for():
    store = SharedStore()
    for rank in (1, 2):
        store.set(f"hello/{rank}", f"of an attempt that failed {rank}")
    assert len(set(meet_all(store, 3))) == 1


def test_one_process_needs_nobody_and_a_missing_one_is_named():
    assert meet(SharedStore(), 0, 1, 0)
    with pytest.raises(TimeoutError, match="process 1 did not come within 0 seconds"):
        meet(SharedStore(), 0, 2, 0)
    with pytest.raises(TimeoutError, match="process 0 did not come"):
        meet(SharedStore(), 1, 2, 0)
