"""Checkpoints whose rows several processes write, here threads that stand for them: whole or absent, and never run."""

from __future__ import annotations

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from metricforge.engine.records import save_in_shards
from metricforge.engine.records.checkpoints import FORMAT, load_checkpoint, open_checkpoint, save_checkpoint
from metricforge.engine.records.save_in_shards import SaveInShards
from metricforge.engine.records.sealed_file import write_sealed
from metricforge.engine.records.shard_files import (
    SHARDS,
    RowsInShards,
    ShardFile,
    check_shards,
    copy_checkpoint,
    forget_shards,
)
from metricforge.errors import CheckpointError
from tests.compressed_archive import compress

WEIGHTS = torch.arange(21.0).reshape(7, 3)
AVERAGES = torch.arange(21.0, 42.0).reshape(7, 3)
PLACES = {("state_dict", "layer.weight"): WEIGHTS, ("optimizer", "state", 0, "exp_avg"): AVERAGES}
BOUNDS = ((0, 4), (4, 7), (7, 7))  # of the rows of three processes, as FSDP shares seven out


def save(path, then=lambda: None, value=0.0):
    """Save as three processes do; what each raised or None."""
    told, barrier = [None] * 3, threading.Barrier(3, timeout=30)

    def process(rank):
        def gather(its):
            told[rank] = its
            barrier.wait()
            everyone = list(told)
            barrier.wait()
            return everyone

        first, last = BOUNDS[rank]
        rest = {
            "meta": {"format": FORMAT, "iteration": 6},
            "state_dict": {"shift": torch.ones(1)},
            "optimizer": {"state": {0: {"step": torch.tensor(6.0)}}},
        }
        rows = {place: whole[first:last] + value for place, whole in PLACES.items()}
        try:
            SaveInShards(rank, 3, gather)({"rest": rest if rank == 0 else {}, "rows": rows}, path, then)
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(process, range(3)))


@pytest.fixture
def path(tmp_path):
    assert save(tmp_path / "iter_6.pth") == [None] * 3
    return tmp_path / "iter_6.pth"


def shard_files(folder):
    return sorted((folder / SHARDS).rglob("*.pth"))


def test_what_three_wrote_is_read_whole_and_in_part(path):
    read = load_checkpoint(path)
    assert torch.equal(read["state_dict"]["layer.weight"], WEIGHTS)
    assert torch.equal(read["optimizer"]["state"][0]["exp_avg"], AVERAGES)
    assert read["optimizer"]["state"][0]["step"] == 6
    assert SHARDS not in read
    rows = open_checkpoint(path)[0]["state_dict"]["layer.weight"]
    for first in range(8):
        for last in range(first, 8):
            assert torch.equal(rows.read(first, last), WEIGHTS[first:last])


def test_only_the_files_that_have_a_row_are_read(path):
    for number, file in enumerate(shard_files(path.parent)):
        if number != 1:
            file.unlink()
    rows = open_checkpoint(path)[0]["state_dict"]["layer.weight"]
    assert torch.equal(rows.read(4, 7), WEIGHTS[4:7])
    with pytest.raises(CheckpointError, match=r"0-of-3.pth: is absent.*keep the folder 'shards' beside it"):
        rows.read(3, 7)


def test_rows_of_a_sparse_gradient_are_read_in_part(tmp_path):
    gradient = torch.sparse_coo_tensor(torch.tensor([[1, 2]]), torch.ones(2, 3), (4, 3))
    files = []
    for rank in range(2):
        write_sealed({("gradients", "w"): gradient}, tmp_path / f"{rank}.pth")
        files.append(ShardFile(tmp_path / f"{rank}.pth", (tmp_path / f"{rank}.pth").read_bytes()[-64:].decode()))
    rows = RowsInShards(files, ("gradients", "w"), (4, 4), (8, 3))
    whole = torch.cat([gradient.to_dense()] * 2)
    assert torch.equal(rows.read(2, 6).to_dense(), whole[2:6])


@pytest.mark.parametrize("number", range(3))
def test_any_changed_byte_of_any_file_is_an_error(path, number):
    file = shard_files(path.parent)[number]
    content = file.read_bytes()
    for place in range(0, len(content), 97):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=f"{file.name}: is damaged"):
            check_shards(open_checkpoint(path)[0])


def test_the_file_of_another_checkpoint_is_an_error_though_it_is_whole(path, tmp_path):
    assert save(tmp_path / "other" / "iter_6.pth", value=1.0)[0] is not None  # there is no such folder
    (tmp_path / "other").mkdir()
    assert save(tmp_path / "other" / "iter_6.pth", value=1.0) == [None] * 3
    shard_files(path.parent)[0].write_bytes(shard_files(tmp_path / "other")[0].read_bytes())
    with pytest.raises(CheckpointError, match=r"0-of-3.pth: is damaged or was changed"):
        load_checkpoint(path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_of_one_process_is_an_error_of_all_and_leaves_nothing(path, monkeypatch, number):
    write = save_in_shards.write_sealed

    def refuse(content, file):
        if file.name == "1-of-3.pth":
            raise OSError(number, os.strerror(number), str(file))
        write(content, file)

    monkeypatch.setattr(save_in_shards, "write_sealed", refuse)
    found = save(path.with_name("iter_9.pth"))
    assert [(its.errno, its.strerror) for its in found] == [(number, f"{os.strerror(number)} (process 1)")] * 3
    assert not path.with_name("iter_9.pth").exists()
    assert len(list((path.parent / SHARDS).iterdir())) == 1
    assert torch.equal(load_checkpoint(path)["state_dict"]["layer.weight"], WEIGHTS)


def test_a_process_whose_disk_is_not_that_of_process_0_is_named(tmp_path, monkeypatch):
    is_file = type(tmp_path).is_file
    monkeypatch.setattr(type(tmp_path), "is_file", lambda self: self.name != "2-of-3.pth" and is_file(self))
    found = save(tmp_path / "iter_6.pth")
    assert all("process 2 wrote its rows into" in str(its) and "all machines share" in str(its) for its in found)
    assert not (tmp_path / "iter_6.pth").exists()


def test_a_kill_before_the_last_file_leaves_the_checkpoint_before_and_its_rows_are_removed(path, monkeypatch):
    best = path.with_name("best.pth")
    assert save(best) == [None] * 3
    with monkeypatch.context() as patches:
        patches.setattr(save_in_shards, "save_checkpoint", lambda *arguments: None)  # all that a kill lets come to be
        save(best, value=1.0)
    assert len(list((path.parent / SHARDS).iterdir())) == 3
    assert torch.equal(load_checkpoint(best)["state_dict"]["layer.weight"], WEIGHTS)
    forget_shards(path.parent)
    assert len(list((path.parent / SHARDS).iterdir())) == 2
    assert torch.equal(load_checkpoint(best)["state_dict"]["layer.weight"], WEIGHTS)


def test_rows_are_removed_with_their_checkpoint_but_not_with_one_that_cannot_be_read(path):
    other = path.with_name("iter_9.pth")
    assert save(other) == [None] * 3
    path.write_bytes(b"damaged")
    forget_shards(path.parent)
    assert len(shard_files(path.parent)) == 6
    path.unlink()
    forget_shards(path.parent)
    assert [file.parent.name.partition("-")[0] for file in shard_files(path.parent)] == ["iter_9"] * 3
    assert torch.equal(load_checkpoint(other)["state_dict"]["layer.weight"], WEIGHTS)


def test_a_copy_has_its_rows(path, tmp_path):
    (tmp_path / "copy").mkdir()
    copy_checkpoint(path, tmp_path / "copy")
    assert torch.equal(load_checkpoint(tmp_path / "copy" / path.name)["state_dict"]["layer.weight"], WEIGHTS)


@pytest.mark.parametrize(
    "index",
    [
        7,
        {},
        {"folder": "../..", "digests": [], "rows": {}},
        {"folder": "/etc", "digests": [], "rows": {}},
        {"folder": "a", "digests": 7, "rows": {}},
        {"folder": "a", "digests": [], "rows": {("state_dict", "w"): ([], (0, 3))}},
        {"folder": "a", "digests": ["0"], "rows": {("state_dict", "w"): ([2], (3, 3))}},
        {"folder": "a", "digests": ["0"], "rows": {("absent", "w"): ([3], (3, 3))}},
        {"folder": "a", "digests": ["0"], "rows": {(): ([3], (3, 3))}},
        {"folder": "a", "digests": ["0", "0"], "rows": {("state_dict", "w"): ([-1, 4], (3, 3))}},
    ],
)
def test_an_index_that_makes_no_sense_is_an_error(tmp_path, index):
    content = {"meta": {"format": FORMAT}, "state_dict": {}, SHARDS: index}
    save_checkpoint(content, tmp_path / "iter_1.pth")
    with pytest.raises(CheckpointError, match="does not say which of its rows are in which file"):
        load_checkpoint(tmp_path / "iter_1.pth")


class RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_in_a_file_of_rows_is_executed(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    file = shard_files(path.parent)[0]
    write_sealed({("state_dict", "layer.weight"): RunsCode()}, file)
    digest = file.read_bytes()[-64:].decode()
    with pytest.raises(CheckpointError, match=r"0-of-3.pth: holds no rows of tensors \(UnpicklingError\)"):
        RowsInShards([ShardFile(file, digest)], ("state_dict", "layer.weight"), (4,), (4, 3)).read(0, 4)
    assert not (tmp_path / "executed").exists()


def test_compressed_rows_that_would_fill_the_memory_are_not_read(path):
    file = shard_files(path.parent)[0]
    compress(file)
    digest = file.read_bytes()[-64:].decode()
    with pytest.raises(CheckpointError, match=r"0-of-3\.pth: holds no rows of tensors") as caught:
        RowsInShards([ShardFile(file, digest)], ("state_dict", "layer.weight"), (4,), (4, 3)).read(0, 4)
    assert "is compressed" in str(caught.value.__cause__)
    compress(path)
    with pytest.raises(CheckpointError) as caught:
        copy_checkpoint(path, path.parent / "copy")
    assert "is compressed" in str(caught.value.__cause__)
