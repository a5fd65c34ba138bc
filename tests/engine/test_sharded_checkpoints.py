"""A run whose checkpoints are in shards: nobody holds all of it, and any number of processes goes on with it."""

from __future__ import annotations

import errno
import os

import pytest
import torch

from metricforge import build_runner, load_model
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.records import save_in_shards
from metricforge.engine.records.checkpoints import BEST, load_checkpoint
from metricforge.engine.records.shard_files import SHARDS, RowsInShards
from metricforge.errors import CheckpointError, ConfigError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.testing import run_in_processes
from tests.cut_training import cut_after
from tests.engine.test_sharded_backbone import assert_close, newest
from tests.engine.test_sharded_backbone import config as config


@pytest.fixture
def in_shards(config):
    config["checkpoint"] |= dict(sharded=True)
    config["train_cfg"] |= dict(val_interval=0)
    return config


def train(config, folder, stop_after=None, resume=False):
    """How many numbers this process reads from shards; it never gathers the rows of all."""
    numbers, read = [], RowsInShards.read

    def counted(self, first, last):
        rows = read(self, first, last)
        numbers.append(rows.numel())
        return rows

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(RowsInShards, "read", counted)
        patches.setattr(Processes, "collect", lambda self, rows: pytest.fail("the rows of all are gathered"))
        runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
        if stop_after is None:
            runner.train()
        else:
            cut_after(runner, stop_after)
    return sum(numbers)


def train_with_a_full_disk(config, folder):
    write = save_in_shards.write_sealed

    def refuse(content, path):
        if path.name == "1-of-2.pth" and path.parent.name.startswith("iter_6-"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(content, path)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(save_in_shards, "write_sealed", refuse)
        with pytest.raises(CheckpointError) as caught:
            train(config, folder)
    return str(caught.value)


@pytest.mark.slow
def test_any_number_of_processes_goes_on_with_it_and_each_reads_only_its_rows(in_shards, tmp_path):
    in_one_file = in_shards | dict(checkpoint=dict(save_best=None))
    build_runner(in_one_file, work_dir=tmp_path / "whole", device="cpu").train()
    run_in_processes(train, 2, in_shards, tmp_path / "2")
    assert_close(newest(tmp_path / "2"), newest(tmp_path / "whole"))
    for count in (1, 2, 3):
        folder = tmp_path / f"cut{count}"
        run_in_processes(train, 2, in_shards, folder, 7)
        path = checkpoint_files(folder)[0]
        assert path.name == "iter_6.pth"
        rest = torch.load(path, weights_only=True)
        assert not any(name.startswith("backbone.") for name in rest["state_dict"])
        held = sum(rows.numel() for rows in torch.load(next((folder / SHARDS).glob("iter_6-*/0-of-2.pth"))).values())
        assert 0.4 < held / (3 * 900) < 0.65  # weights and AdamW's two averages
        numbers = run_in_processes(train, count, in_shards, folder, None, True)
        assert sum(numbers) == 3 * 900
        assert max(numbers) < 3 * 900 * (1 / count + 0.15) or count == 1
        assert_close(newest(folder), newest(tmp_path / "whole"))
        if count == 2:
            for name, weight in newest(tmp_path / "2")["state_dict"].items():
                assert torch.equal(newest(folder)["state_dict"][name], weight), name
        shards = sorted(path.name.partition("-")[0] for path in (folder / SHARDS).iterdir()) if count > 1 else []
        assert shards == sorted(file.stem for file in checkpoint_files(folder)) or count == 1


@pytest.mark.slow
def test_the_best_weights_are_scored_loaded_and_a_damaged_file_leads_to_the_checkpoint_before(in_shards, tmp_path):
    in_shards |= dict(validation="test", checkpoint=dict(sharded=True))
    in_shards["train_cfg"] |= dict(val_interval=1)
    scores = run_in_processes(train_and_score, 2, in_shards, tmp_path)[0]
    best = tmp_path / BEST
    assert list((tmp_path / SHARDS).glob("best-*/1-of-2.pth"))
    assert build_runner(in_shards, checkpoint=best, device="cpu").test() == pytest.approx(scores, abs=1e-6)
    weights = load_checkpoint(best)["state_dict"]
    for name, value in load_model(tmp_path, device="cpu").learner.backbone.state_dict().items():
        assert torch.equal(value, weights[f"backbone.{name}"])
    latest, before = checkpoint_files(tmp_path)
    damaged = next((tmp_path / SHARDS).glob(f"{latest.stem}-*/1-of-2.pth"))
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"1-of-2.pth: is damaged or was changed"):
        load_checkpoint(latest)
    runner = build_runner(in_shards, work_dir=tmp_path, device="cpu", resume=True)
    assert runner._resume_point.path == before
    assert "1-of-2.pth: is damaged" in runner._resume_point.notes[0]


def train_and_score(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    return runner.last_scores


@pytest.mark.slow
def test_a_full_disk_of_one_process_is_said_by_all_and_the_checkpoint_before_stays(in_shards, tmp_path):
    for said in run_in_processes(train_with_a_full_disk, 2, in_shards, tmp_path):
        assert "iter_6.pth cannot be written: No space left on device (process 1); iter_4.pth is whole" in said
    whole = checkpoint_files(tmp_path)
    assert [file.name for file in whole] == ["iter_4.pth", "iter_3.pth"]
    load_checkpoint(whole[0])
    assert sorted(path.name.partition("-")[0] for path in (tmp_path / SHARDS).iterdir()) == ["iter_3", "iter_4"]


def test_one_process_writes_one_file(in_shards, tmp_path):
    build_runner(in_shards, work_dir=tmp_path, device="cpu").train()
    assert not (tmp_path / SHARDS).exists()
    assert newest(tmp_path)["state_dict"]


def test_shards_of_what_is_not_shared_out_are_a_fault_of_the_config(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(sharded=True)
    with pytest.raises(ConfigError, match=r"checkpoint.sharded: each process has everything.*shard_backbone=True or"):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")
