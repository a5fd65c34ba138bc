"""A run that becomes NaN or infinite ends, keeps no checkpoint of it, and saves the batch to be repeated."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from metricforge import LossOutput, build_runner
from metricforge.cli.main import main
from metricforge.engine.records.culprit import Culprit, read_culprit
from metricforge.engine.records.sealed_file import write_sealed
from metricforge.errors import CheckpointError, NonFiniteLossError
from metricforge.losses import TripletLoss
from metricforge.run_records.checkpoint_files import checkpoint_files
from tests.compressed_archive import compress


def run_until_it_fails(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu")
    with pytest.raises(NonFiniteLossError) as caught:
        runner.train()
    return runner, caught.value


def square_root_of_zero(self, embeddings, labels, tuples=None, similarity=None):
    return LossOutput((embeddings * 0).square().sum().sqrt())


def test_a_gradient_that_is_not_finite_ends_a_run_whose_loss_is(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(TripletLoss, "forward", square_root_of_zero)
    _, error = run_until_it_fails(tiny_config, tmp_path)
    assert "the largest gradient became nan at epoch 1, iteration 1 (loss 0" in str(error)
    assert checkpoint_files(tmp_path) == []


def test_a_running_statistic_that_is_not_finite_ends_a_run_whose_losses_are(tiny_config, tmp_path):
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    original = runner.model.train_step

    def step(*args, **kwargs):
        if runner.iter == 7:
            runner.model.backbone.layers[1].running_var[0] = torch.inf
        return original(*args, **kwargs)

    runner.model.train_step = step
    with pytest.raises(NonFiniteLossError, match=r"backbone.layers.1.running_var is not finite after epoch 2"):
        runner.train()
    assert [file.name for file in checkpoint_files(tmp_path)] == ["iter_6.pth"]


def test_the_batch_is_saved_with_its_images_and_the_command_repeats_it_bit_for_bit(tiny_config, tmp_path, capsys):
    tiny_config["optim_wrapper"]["optimizer"] = dict(type="SGD", lr=1e25)
    tiny_config["train_cfg"]["max_epochs"] = 40
    tiny_config["model"]["head"] |= dict(l2_normalize=False)
    runner, error = run_until_it_fails(tiny_config, tmp_path / "run")
    assert error.saved is not None
    assert f"--replay {error.saved}" in str(error)
    kept = read_culprit(error.saved)
    assert (kept.iteration, kept.epoch) == (error.iteration, error.epoch)
    assert kept.images.shape == (4, 3, 16, 16)
    dataset = runner.train_dataloader.dataset
    number = kept.iteration % len(runner.train_dataloader)
    again = [dataset[(index, (3, kept.epoch, number, index))]["image"] for index in kept.ids]
    np.testing.assert_array_equal(kept.images, torch.stack(again))
    assert kept.locations == [dataset.dataset.location(index) for index in kept.ids]
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")}
    config = next((tmp_path / "run").glob("*.py"))
    main(["train", str(config), "--device", "cpu", "--replay", str(error.saved)])
    said = capsys.readouterr().out
    assert f"repeats update {error.iteration + 1} from " in said
    assert "repeated: the same, bit for bit: " in said
    assert "not finite first in the forward pass: " in said
    assert kept.locations[0] in said
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").glob("*.*")} == before, "the run stays"


def test_a_batch_that_would_fill_the_memory_or_run_code_is_not_read(tmp_path):
    write_sealed(asdict(Culprit(6, 1, "", {}, [1], images=torch.zeros(1, 3, 4, 4))), tmp_path / "not_finite_7.pt")
    assert read_culprit(tmp_path / "not_finite_7.pt").iteration == 6
    compress(tmp_path / "not_finite_7.pt")
    with pytest.raises(CheckpointError, match=r"not_finite_7\.pt: is not a saved batch") as caught:
        read_culprit(tmp_path / "not_finite_7.pt")
    assert "is compressed" in str(caught.value.__cause__)
    write_sealed(Path("code"), tmp_path / "not_finite_7.pt")
    with pytest.raises(CheckpointError, match=r"not_finite_7\.pt: is not a saved batch"):
        read_culprit(tmp_path / "not_finite_7.pt")


def test_a_replay_takes_no_other_folder_and_no_other_file(tiny_config, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"no batch")
    arguments = ["train", "normsoftmax_glyphs", "--replay", str(tmp_path / "x.pt")]
    with pytest.raises(SystemExit):
        main(arguments)
    with pytest.raises(SystemExit):
        main([*arguments, "--work-dir", str(tmp_path)])
    with pytest.raises(CheckpointError, match="is damaged, or is not a batch saved by training"):
        read_culprit(tmp_path / "x.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    for absent in (tmp_path / "pipe.pt", Path("/dev/zero"), tmp_path, tmp_path / "no.pt"):
        with pytest.raises(CheckpointError, match=f"{absent}: there is no such file of a batch"):
            read_culprit(absent)
