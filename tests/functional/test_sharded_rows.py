"""Rows spread over processes; the losses that use them test the sums and their gradients."""

from __future__ import annotations

import pytest
import torch

from metricforge import RowShard, functional
from metricforge.functional import sharded_rows
from metricforge.testing import run_in_processes


def test_rows_drawn_in_blocks_are_those_drawn_at_once(monkeypatch):
    torch.manual_seed(4)
    expected = torch.empty(10, 3).uniform_(-1, 1)
    monkeypatch.setattr(sharded_rows, "BLOCK", 4)
    for first, count in ((0, 10), (0, 3), (3, 4), (5, 5), (9, 1)):
        torch.manual_seed(4)
        rows = functional.draw_rows(RowShard(first, 10), count, 3, lambda block: block.uniform_(-1, 1))
        assert torch.equal(rows, expected[first : first + count])


def shares():
    with pytest.raises(ValueError, match="shard=True cannot share 2 classes among 3 processes; leave shard out"):
        functional.shard_sizes(2)
    sizes = functional.shard_sizes(11)
    own, count = functional.own_shard(sizes)
    columns = torch.arange(own.first, own.first + count)[None]
    return sizes, own.first, count, functional.gather_columns(columns, sizes)


def test_processes_share_all_rows_as_evenly_as_can_be():
    for rank, (sizes, first, count, columns) in enumerate(run_in_processes(shares, 3)):
        assert sizes == [3, 4, 4]
        assert (first, count) == ([0, 3, 7][rank], sizes[rank])
        assert columns.tolist() == [list(range(11))]


def test_a_process_alone_has_all():
    assert functional.shard_sizes(5) == [5]
    assert functional.own_shard([5]) == (RowShard(0, 5), 5)
