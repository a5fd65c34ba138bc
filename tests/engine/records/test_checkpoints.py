"""Traps 1 and 2 of mmengine: checkpoints that do not load safely, and that a crash leaves broken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from metricforge.engine.records.checkpoints import (
    file_hash,
    load_checkpoint,
    save_checkpoint,
    to_plain,
)
from metricforge.errors import CheckpointError
from metricforge.run_records.checkpoint_files import checkpoint_files

PLAIN = {"meta": {"format": 2}, "state_dict": {"weight": torch.arange(3.0)}}


class Mischief:
    """A pickle that would create a file when it is loaded the unsafe way."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path):
    save_checkpoint(PLAIN | {"optimizer": {"eta": np.float64(0.5), "steps": np.arange(3)}}, tmp_path / "iter_1.pth")
    read = load_checkpoint(tmp_path / "iter_1.pth")
    assert torch.equal(read["state_dict"]["weight"], PLAIN["state_dict"]["weight"])
    assert read["optimizer"]["eta"] == 0.5
    assert read["optimizer"]["steps"].tolist() == [0, 1, 2]


def test_numpy_becomes_plain_at_any_depth():
    plain = to_plain({"a": [np.int64(3), (np.float32(0.5), np.zeros(2))]})
    assert type(plain["a"][0]) is int
    assert type(plain["a"][1][0]) is float
    assert isinstance(plain["a"][1][1], torch.Tensor)


def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path):
    proof = tmp_path / "proof"
    torch.save({**PLAIN, "extra": Mischief(proof)}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth: refused"):
        load_checkpoint(tmp_path / "evil.pth")
    assert not proof.exists()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "best.pth"
    save_checkpoint(PLAIN, path)
    before = file_hash(path)

    def disk_full(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint({**PLAIN, "more": torch.ones(5)}, path)
    assert file_hash(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["best.pth"]


@pytest.mark.parametrize("keep", [0, 10, 400])
def test_a_truncated_checkpoint_is_named(tmp_path, keep):
    path = tmp_path / "iter_5.pth"
    save_checkpoint(PLAIN, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"iter_5\.pth: truncated"):
        load_checkpoint(path)


def test_an_absent_checkpoint_says_which_are_there(tmp_path):
    save_checkpoint(PLAIN, tmp_path / "iter_5.pth")
    with pytest.raises(CheckpointError, match=r"its folder has iter_5\.pth"):
        load_checkpoint(tmp_path / "iter_6.pth")


def test_a_file_of_another_kind_is_no_checkpoint(tmp_path):
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="no state_dict"):
        load_checkpoint(tmp_path / "other.pth")


def test_a_picture_is_no_checkpoint_and_torch_s_advice_to_read_it_unsafely_is_not_passed_on(tmp_path):
    (tmp_path / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(CheckpointError, match=r"0\.png: truncated or not a checkpoint") as refused:
        load_checkpoint(tmp_path / "0.png")
    assert "weights_only" not in str(refused.value)


def test_the_newest_checkpoint_has_the_most_iterations_not_the_last_name(tmp_path):
    for name in ("iter_9.pth", "iter_10.pth", "best.pth"):
        save_checkpoint(PLAIN, tmp_path / name)
    assert [p.name for p in checkpoint_files(tmp_path)] == ["iter_10.pth", "iter_9.pth"]
