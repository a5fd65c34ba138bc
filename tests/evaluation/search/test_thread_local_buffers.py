from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch

from metricforge.evaluation.search.thread_local_buffers import ThreadLocalBuffers


def test_a_buffer_keeps_its_memory_while_it_is_large_enough():
    buffers = ThreadLocalBuffers()
    first = buffers.buffer("scores", 3, 4, torch.float32)
    first.fill_(7)
    again = buffers.buffer("scores", 2, 5, torch.float32)
    assert again.shape == (2, 5)
    assert again.data_ptr() == first.data_ptr()
    assert (again == 7).all()
    larger = buffers.buffer("scores", 5, 5, torch.float32)
    assert larger.shape == (5, 5)
    assert larger.data_ptr() != first.data_ptr()


def test_buffers_of_other_names_and_types_are_others():
    buffers = ThreadLocalBuffers()
    scores = buffers.buffer("scores", 2, 2, torch.float32)
    flags = buffers.buffer("flags", 2, 2, torch.float32)
    assert flags.data_ptr() != scores.data_ptr()
    doubles = buffers.buffer("scores", 1, 1, torch.float64)
    assert doubles.dtype == torch.float64


def test_no_thread_writes_into_the_buffer_of_another():
    buffers = ThreadLocalBuffers()
    mine = buffers.buffer("scores", 4, 4, torch.float32).fill_(1)
    with ThreadPoolExecutor(1) as pool:
        theirs = pool.submit(lambda: buffers.buffer("scores", 4, 4, torch.float32).fill_(2)).result()
    assert theirs.data_ptr() != mine.data_ptr()
    assert (mine == 1).all()
