from __future__ import annotations

import gc
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from metricforge import large_arrays
from metricforge.errors import DiskSpaceError
from metricforge.large_arrays import array_beside, finite_rows, mapped_array, new_array, row_blocks, stored_arrays
from metricforge.structures import EmbeddingSet

ROWS = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def mapped_files(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(f"{folder}/")


def test_no_two_threads_parse_a_header_at_a_time(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", ROWS)
    np.savez(tmp_path / "rows.npz", rows=ROWS)
    parsing, together = [], []
    read = np.load

    def watched_load(*arguments, **options):
        parsing.append(1)
        time.sleep(0.001)
        together.append(len(parsing))
        try:
            return read(*arguments, **options)
        finally:
            parsing.pop()

    monkeypatch.setattr(np, "load", watched_load)
    with ThreadPoolExecutor(8) as threads:
        mapped = list(threads.map(mapped_array, [tmp_path / "rows.npy"] * 20))
        stored = list(threads.map(stored_arrays, [tmp_path / "rows.npz"] * 20))
    assert all(np.array_equal(each, ROWS) for each in [*mapped, *(each["rows"] for each in stored)])
    assert together == [1] * 40


def test_a_small_array_lies_in_memory_and_a_large_one_in_a_file_of_its_size(folder):
    assert type(new_array((50, 3), np.float16, 300 / 1e9)) is np.ndarray
    large = new_array((50, 3), np.float16, 299 / 1e9)
    assert isinstance(large, np.memmap)
    assert (large.shape, large.dtype) == ((50, 3), np.float16)
    large[:] = ROWS
    assert np.array_equal(large, ROWS.astype(np.float16))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="counts mapped files as Linux lists them")
def test_the_file_has_no_name_and_is_gone_with_the_last_view_of_the_array(folder):
    large = new_array((50, 3), np.float32, 0)
    assert list(folder.iterdir()) == []
    assert mapped_files(folder) == 1
    view = large[10:, :2]
    del large
    gc.collect()
    assert mapped_files(folder) == 1
    del view
    gc.collect()
    assert mapped_files(folder) == 0


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is asked for by posix_fallocate")
def test_a_full_disk_is_an_error_that_names_folder_and_way_out_and_leaves_nothing(folder, monkeypatch):
    def full(file, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskSpaceError, match=rf"^{folder} has no room for .* 4\.1 GB \(No space left.*TMPDIR"):
        new_array((1025, 10**6), np.float32)
    assert list(folder.iterdir()) == []


def test_what_becomes_of_rows_in_a_file_lies_in_a_file(folder, monkeypatch):
    in_file = new_array((50, 3), np.float32, 0)
    assert isinstance(array_beside(in_file, (2, 2), np.float32), np.memmap)
    assert isinstance(array_beside(in_file[4:], (2, 2), np.float32), np.memmap)
    assert type(array_beside(ROWS, (2, 2), np.float32)) is np.ndarray
    in_file[:] = ROWS
    part = EmbeddingSet(in_file, np.arange(50)).where(np.arange(50) % 3 == 0)
    assert isinstance(part.embeddings, np.memmap)
    assert np.array_equal(part.embeddings, ROWS[::3])
    np.save(folder / "a.npy", ROWS)  # a user's own file says nothing of what memory there is
    assert type(array_beside(np.load(folder / "a.npy", mmap_mode="r"), (2, 2), np.float32)) is np.ndarray


@pytest.mark.parametrize("mode", [None, "r", "r+", "c"])
@pytest.mark.parametrize("rows_at_once", [1, 7, 50, 99])
def test_blocks_are_all_rows_in_their_order_and_read_again_the_same(folder, mode, rows_at_once):
    np.save(folder / "a.npy", ROWS)
    rows = np.load(folder / "a.npy", mmap_mode=mode)
    expected = ROWS.copy()
    if mode in ("r+", "c"):
        rows[3] = expected[3] = 9  # of a private mapping, this stands in no file
    for _ in range(2):
        found = np.full_like(ROWS, np.nan)
        for place, block in row_blocks(rows, rows_at_once):
            found[place] = block
        assert np.array_equal(found, expected)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads what of a file is in memory as Linux says it")
def test_what_was_read_of_a_file_is_let_go(folder):
    large = new_array((2000, 512), np.float32, 0)  # 4 MB
    large[:] = 1

    def resident() -> int:
        mapping = Path("/proc/self/smaps").read_text().split(str(folder))[1]
        return int(mapping.partition("Rss:")[2].split()[0])

    assert resident() > 3000
    assert all((block == 1).all() for _, block in row_blocks(large, 100))
    assert resident() < 300


def test_rows_are_finite_where_all_their_numbers_are(monkeypatch):
    monkeypatch.setattr(large_arrays, "NUMBERS_AT_ONCE", 10)
    rows = ROWS.copy()
    rows[[2, 30], [0, 2]] = np.nan, -np.inf
    assert finite_rows(rows).nonzero()[0].tolist() == [row for row in range(50) if row not in (2, 30)]
    assert finite_rows(np.empty((0, 3))).shape == (0,)
