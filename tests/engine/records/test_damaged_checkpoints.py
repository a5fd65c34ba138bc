"""Any byte of a checkpoint that is not as it was written makes it unreadable, and says so."""

from __future__ import annotations

import os
import random

import pytest
import torch

from metricforge import build_runner
from metricforge.backbones.weights_file import load_weights_file
from metricforge.engine.records.checkpoints import (
    FORMAT,
    check_state_of_run,
    load_checkpoint,
    save_checkpoint,
)
from metricforge.engine.records.load_weights import load_weights
from metricforge.engine.records.sealed_file import write_sealed
from metricforge.errors import CheckpointError
from metricforge.run_records.checkpoint_files import checkpoint_files
from tests.compressed_archive import compress
from tests.cut_training import cut_after
from tests.damaged_bytes import damage


@pytest.fixture
def checkpoint(tmp_path):
    generator = torch.Generator().manual_seed(0)
    weights = {f"layer{i}.weight": torch.randn(7, 5, generator=generator) for i in range(3)}
    path = tmp_path / "iter_5.pth"
    save_checkpoint({"meta": {"format": FORMAT, "seed": 3}, "state_dict": weights, "optimizer": {"lr": 0.1}}, path)
    return path


def accepted(path, seed: int, count: int) -> list[int]:
    """The numbers of those of ``count`` damaged versions of ``path`` that still load."""
    content, rng = path.read_bytes(), random.Random(seed)
    loaded = []
    for number in range(count):
        damaged = damage(content, rng)
        path.write_bytes(damaged)
        try:
            load_checkpoint(path)
        except CheckpointError:
            continue
        if damaged != content:
            loaded.append(number)
    return loaded


def test_no_damaged_checkpoint_loads_and_all_raise_the_same_error(checkpoint):
    assert accepted(checkpoint, seed=0, count=250) == []


@pytest.mark.slow
def test_no_damaged_checkpoint_of_many_loads(checkpoint):
    assert accepted(checkpoint, seed=1, count=5_000) == []


def test_every_single_byte_counts(checkpoint):
    content = checkpoint.read_bytes()
    for place in range(0, len(content), 37):
        checkpoint.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match=r"iter_5\.pth"):
            load_checkpoint(checkpoint)


def test_a_checkpoint_that_torch_saved_by_itself_says_that_it_has_no_checksum(checkpoint):
    torch.save(load_checkpoint(checkpoint), checkpoint)
    with pytest.raises(CheckpointError, match="has no checksum"):
        load_checkpoint(checkpoint)


def test_torch_itself_reads_a_checkpoint(checkpoint):
    read = torch.load(checkpoint, weights_only=True)
    assert torch.equal(read["state_dict"]["layer1.weight"], load_checkpoint(checkpoint)["state_dict"]["layer1.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"meta": None, "state_dict": {}}, "format None"),
        ({"meta": {"format": FORMAT}, "state_dict": [torch.ones(1)]}, "not a dict of tensors"),
        ({"meta": {"format": FORMAT}, "state_dict": {"weight": 3}}, "not a dict of tensors"),
        ([1, 2], "no state_dict and meta"),
    ],
)
def test_a_whole_file_of_another_content_is_refused(tmp_path, content, message):
    save_checkpoint(content, tmp_path / "iter_5.pth")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "iter_5.pth")


def test_a_checkpoint_without_a_run_s_state_cannot_be_resumed(checkpoint):
    with pytest.raises(CheckpointError, match="its param_schedulers is NoneType, not list"):
        check_state_of_run(load_checkpoint(checkpoint), checkpoint)


def test_a_folder_named_like_a_checkpoint_is_none(checkpoint):
    (checkpoint.parent / "iter_9.pth").mkdir()
    assert checkpoint_files(checkpoint.parent) == [checkpoint]
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        load_checkpoint(checkpoint.parent / "iter_9.pth")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660), (0o077, 0o600)])
def test_the_mode_of_a_checkpoint_follows_the_umask(checkpoint, umask, mode):
    before = os.umask(umask)
    try:
        save_checkpoint(load_checkpoint(checkpoint), checkpoint.with_name("iter_6.pth"))
    finally:
        os.umask(before)
    assert checkpoint.with_name("iter_6.pth").stat().st_mode & 0o777 == mode


def test_resume_falls_back_from_whatever_is_wrong_with_the_newest(tiny_config, tmp_path, capsys):
    build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()
    newest, before = checkpoint_files(tmp_path)
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    save_checkpoint({"meta": {"format": FORMAT}, "state_dict": {}}, tmp_path / "iter_99.pth")
    capsys.readouterr()
    build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=True).train()
    said = " ".join(capsys.readouterr().out.split())
    assert "iter_99.pth: its optimizer is NoneType, not dict; falling back" in said
    assert "iter_18.pth: is damaged or was changed" in said
    assert f"resumed from {before.name}" in said


def test_a_resume_of_another_format_is_refused_and_says_why(tiny_config, tmp_path):
    cut_after(build_runner(tiny_config, work_dir=tmp_path, device="cpu"), 7)
    other = load_checkpoint(tmp_path / "iter_6.pth")
    other["meta"]["format"] = FORMAT + 1
    save_checkpoint(other, tmp_path / "iter_6.pth")
    with pytest.raises(CheckpointError, match=rf"iter_6\.pth: has format {FORMAT + 1}, this version reads {FORMAT}"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=True)


def test_newer_checkpoints_that_are_damaged_do_not_push_out_whole_ones(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(max_keep=3)
    build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()
    for name in ("iter_18.pth", "iter_12.pth"):
        (tmp_path / name).write_bytes(b"")
    tiny_config["checkpoint"] = dict(max_keep=2, interval_iterations=2)
    cut_after(build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=True), 3)
    names = [path.name for path in checkpoint_files(tmp_path)]
    assert names == ["iter_18.pth", "iter_12.pth", "iter_8.pth", "iter_6.pth"]
    assert load_checkpoint(tmp_path / "iter_8.pth")["meta"]["iteration"] == 8


def test_a_tensor_that_cannot_be_copied_is_named_by_its_file(tmp_path):
    path = tmp_path / "iter_5.pth"
    weights = {"weight": torch.eye(2).to_sparse()}
    save_checkpoint({"meta": {"format": FORMAT}, "state_dict": weights}, path)
    with pytest.raises(CheckpointError, match=r"iter_5\.pth: holds weights that cannot be copied"):
        load_weights(torch.nn.Linear(2, 2, bias=False), load_checkpoint(path), path)


def holding_itself():
    extra = {}
    extra["itself"] = extra
    return extra


def shared_at_each_of(levels):
    extra = {}
    for _ in range(levels):
        extra = {"one": extra, "other": extra}  # as small as a list of them, but twice as much to go through
    return extra


def within_each_other(levels):
    extra = {}
    for _ in range(levels):
        extra = {"inner": extra}
    return extra


@pytest.mark.parametrize("extra", [holding_itself(), shared_at_each_of(50), within_each_other(400)])
def test_parts_that_nobody_could_go_through_are_refused(tmp_path, extra):
    write_sealed({"meta": {"format": FORMAT}, "state_dict": {}, "extra": extra}, tmp_path / "iter_5.pth")
    with pytest.raises(CheckpointError, match=r"iter_5\.pth: its parts hold each other or are nested too deeply"):
        load_checkpoint(tmp_path / "iter_5.pth")


def test_compressed_content_that_would_fill_the_memory_is_not_read(checkpoint):
    compress(checkpoint)
    with pytest.raises(CheckpointError, match=r"iter_5\.pth: .* is compressed"):
        load_checkpoint(checkpoint)
    with pytest.raises(CheckpointError, match=r"iter_5\.pth .* is compressed"):
        load_weights_file(torch.nn.Linear(2, 2), checkpoint, ())
