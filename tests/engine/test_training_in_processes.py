"""Whole small runs over several processes: what they train, what they leave, and how their errors read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError, MainProcessError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history
from metricforge.testing import run_in_processes
from tests.cut_training import cut_after

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tiny_config):
    """Without BatchNorm and dropout, which differ with the number of processes; the miner still draws at random."""
    tiny_config["model"]["backbone"] = dict(type="RawPixels", height=16, width=16)
    tiny_config["model"]["head"] = dict(type="EmbeddingHead", dim=8)
    tiny_config["train_dataloader"]["sampler"] = dict(
        type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=3, batches_per_epoch=4
    )
    return tiny_config


def train(config, folder, stop_after=None, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    if stop_after is not None:
        cut_after(runner, stop_after)
    else:
        runner.train()
    return runner.last_scores, runner.model.state_dict()


def final_weights(folder):
    return load_checkpoint(checkpoint_files(folder)[0])["state_dict"]


def assert_close(found, wanted):
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, rtol=1e-4, atol=1e-6, msg=lambda t, n=name: f"{n}: {t}")


def test_two_processes_train_and_score_what_one_does(config, tmp_path):
    untrained = build_runner(config, work_dir=tmp_path / "0", device="cpu").model.state_dict()
    scores, weights = train(config, tmp_path / "1")
    found = run_in_processes(train, 2, config, tmp_path / "2")
    assert not torch.allclose(untrained["head.linear.weight"], weights["head.linear.weight"], atol=1e-3)
    for its_scores, its_weights in found:
        assert its_scores == pytest.approx(scores, abs=1e-6)
        assert_close(its_weights, weights)
    left = [sorted(path.name for path in (tmp_path / name).glob("*.[pj]*") if path.suffix != ".py") for name in "12"]
    assert left[0] == left[1] == ["history.jsonl", "iter_12.pth", "iter_8.pth", "scores.json"]
    of_one, of_two = (
        [(line["iteration"], "scores" in line) for line in read_history(tmp_path / name) if "diagnostics" not in line]
        for name in "12"
    )  # a clock decides how often a training is looked at
    assert of_one == of_two, "process 0 alone writes"
    assert len(list((tmp_path / "2").glob("*/*.log"))) == 1, "process 0 alone writes a log"


def evaluate(config, checkpoint, folder):
    return build_runner(config, checkpoint=checkpoint, work_dir=folder, device="cpu").test()


@pytest.mark.parametrize("count", [2, 3])
def test_scores_are_those_of_one_process_to_the_last_digit(tiny_config, tmp_path, count):
    train(tiny_config, tmp_path / "run")
    checkpoint = tmp_path / "run" / "iter_18.pth"
    tiny_config["test_dataloader"]["batch_size"] = 13  # 24 images: two shares of different size, and one of none
    one = evaluate(tiny_config, checkpoint, tmp_path / "one")
    assert run_in_processes(evaluate, count, tiny_config, checkpoint, tmp_path / "more") == [one] * count
    protocols = [json.loads((tmp_path / name / "scores.json").read_text()) for name in ("one", "more")]
    for written in protocols:
        written["protocol"].pop("seconds")
    assert protocols[0] == protocols[1]
    values = [(tmp_path / name / "scores.queries.npz").read_bytes() for name in ("one", "more")]
    assert values[0] == values[1]


@pytest.mark.slow
def test_a_run_stopped_inside_an_epoch_resumes_bit_for_bit(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(interval_iterations=5)
    tiny_config["optim_wrapper"]["accumulative_counts"] = 4  # leaves gradients waiting at iteration 10
    whole = run_in_processes(train, 2, tiny_config, tmp_path / "whole")[0][1]
    run_in_processes(train, 2, tiny_config, tmp_path / "cut", 11)
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_10.pth"
    resumed = run_in_processes(resume, 2, tiny_config, tmp_path / "cut")
    for _, weights in resumed:
        assert [name for name, weight in whole.items() if not torch.equal(weight, weights[name])] == []


def resume(config, folder, stop_after=None):
    return train(config, folder, stop_after, resume=True)


@pytest.mark.slow
def test_a_run_of_two_processes_is_taken_up_by_one_and_by_three(config, tmp_path):
    config["train_dataloader"]["sampler"] |= dict(type="RandomBatchSampler", batch_size=6)
    for name in ("classes_per_batch", "samples_per_class", "batches_per_epoch"):
        config["train_dataloader"]["sampler"].pop(name)
    config["checkpoint"] = dict(interval_iterations=3)
    whole = train(config, tmp_path / "whole")[1]
    for count in (1, 3):
        folder = tmp_path / f"cut{count}"
        run_in_processes(train, 2, config, folder, 7)
        assert checkpoint_files(folder)[0].name == "iter_6.pth"
        if count == 1:
            resume(config, folder)
        else:
            run_in_processes(resume, count, config, folder)
        assert_close(final_weights(folder), whole)


@pytest.mark.slow
def test_a_run_goes_on_with_four_three_and_four_processes_within_the_rounding_of_one(config, tmp_path):
    config["train_dataloader"]["sampler"] = dict(type="RandomBatchSampler", batch_size=12)
    config["train_cfg"]["max_epochs"] = 4
    config["checkpoint"] = dict(interval_iterations=1)
    whole = train(config, tmp_path / "whole")[1]
    run_in_processes(train, 4, config, tmp_path / "elastic", 3)
    run_in_processes(resume, 3, config, tmp_path / "elastic", 2)
    assert checkpoint_files(tmp_path / "elastic")[0].name == "iter_5.pth"
    for _, weights in run_in_processes(resume, 4, config, tmp_path / "elastic"):
        assert_close(weights, whole)


def warmed_up(config, folder):
    config["train_cfg"] = dict(max_epochs=2, warmup_epochs=1)
    return train(config, folder)[1]


def test_batch_norm_and_warm_up_leave_the_same_model_on_all_processes(tiny_config, tmp_path):
    first, second = run_in_processes(warmed_up, 2, tiny_config, tmp_path)
    assert [name for name, weight in first.items() if not torch.equal(weight, second[name])] == []


def refused(config, folder, error):
    with pytest.raises(error) as caught:
        train(config, folder)
    return str(caught.value)


def test_a_batch_that_cannot_be_shared_is_a_config_fault_with_the_way_out(tiny_config, tmp_path):
    for message in run_in_processes(refused, 3, tiny_config, tmp_path, ConfigError):
        assert "train_dataloader.sampler: classes_per_batch (2) must be a multiple of world_size (3)" in message
        assert "try 3" in message


def test_synchronised_batch_norm_on_the_cpu_is_refused(tiny_config, tmp_path):
    tiny_config["train_cfg"]["sync_batch_norm"] = True
    for message in run_in_processes(refused, 2, tiny_config, tmp_path, ConfigError):
        assert "train_cfg.sync_batch_norm: torch supports it on GPUs only" in message


def refused_folder(config, folder):
    with pytest.raises((ConfigError, MainProcessError)) as caught:
        train(config, folder)
    return type(caught.value), str(caught.value)


def test_what_process_0_alone_finds_out_ends_the_others_too(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    (error, message), (other_error, other_message) = run_in_processes(refused_folder, 2, tiny_config, tmp_path)
    assert (error, other_error) == (ConfigError, MainProcessError)
    assert "holds another run's checkpoints" in message
    assert "process 0 failed" in other_message
    assert "holds another run's checkpoints" in other_message


def test_a_process_alone_is_number_0_of_1():
    assert Processes.current() == Processes(0, 1)
    assert Processes.current().is_main


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            dict(WORLD_SIZE="2"),
            "WORLD_SIZE=2 is set .* but RANK, LOCAL_RANK, .* are not; .*torchrun",
        ),
        (dict(WORLD_SIZE="two", RANK="0", LOCAL_RANK="0", MASTER_ADDR="x", MASTER_PORT="1"), "it must be a number"),
    ],
)
def test_an_environment_that_torchrun_did_not_make_is_refused(tiny_config, tmp_path, monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")


@pytest.mark.slow
def test_torchrun_trains_and_prints_once(config, tmp_path):
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in config.items()))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += [str(ROOT / "tools/train.py"), str(script), "--device", "cpu", "--work-dir", str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("epoch 3/3") == 1
    assert run.stdout.count("Try next") == 1
    assert "2 processes" in run.stdout
    assert run.stderr == ""
    assert_close(final_weights(tmp_path / "run"), train(config, tmp_path / "one")[1])
