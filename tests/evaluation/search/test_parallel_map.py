"""Blocks side by side: order, share of the threads, errors."""

import threading
import time

import pytest
import torch

from metricforge.evaluation.search.parallel_map import parallel_map


def slow_first(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0)
    return 10 * number


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_blocks(threads: int) -> None:
    assert list(parallel_map(slow_first, range(9), threads)) == [10 * number for number in range(9)]


def test_as_many_blocks_are_worked_on_at_a_time_as_there_are_threads() -> None:
    together = threading.Barrier(3, timeout=20)
    assert len(list(parallel_map(lambda block: together.wait(), range(6), 3))) == 6  # a lonely block would wait in vain


def test_few_blocks_are_taken_before_their_results_are_asked_for() -> None:
    taken = []
    results = parallel_map(slow_first, (taken.append(number) or number for number in range(100)), 2)
    next(results)
    assert len(taken) == 3
    results.close()


@pytest.mark.parametrize("before", [1, 3])
def test_each_thread_has_its_share_of_torchs_threads_and_the_setting_is_put_back(before: int) -> None:
    was = torch.get_num_threads()
    torch.set_num_threads(before)
    try:
        shares = list(parallel_map(lambda block: torch.get_num_threads(), range(6), before))
        assert set(shares) == {1}
        assert torch.get_num_threads() == before
        seen_by_a_new_thread = []
        later = threading.Thread(target=lambda: seen_by_a_new_thread.append(torch.get_num_threads()))
        later.start()
        later.join()
        assert seen_by_a_new_thread == [before]
    finally:
        torch.set_num_threads(was)


def test_an_error_of_a_block_reaches_the_caller() -> None:
    def work(block: int) -> int:
        if block == 2:
            raise ValueError("block 2 is broken")
        return block

    results = parallel_map(work, range(50), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="block 2 is broken"):
        next(results)
