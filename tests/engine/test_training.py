"""Whole small runs: what a run leaves, and that a resumed one equals an uninterrupted one to the bit."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from metricforge import build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError, ConfigError, NonFiniteLossError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history
from tests.cut_training import cut_after


def final_weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(checkpoint_files(folder)[0])["state_dict"]


def assert_same_weights(a: Path, b: Path) -> None:
    torch.testing.assert_close(final_weights(a), final_weights(b), rtol=0, atol=0)


def train(config, folder, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    runner.train()
    return runner


def test_a_run_leaves_scores_checkpoints_config_and_log(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text())
    assert set(written["scores"]) == {"recall@1", "recall@2", "map@r", "nmi"}
    assert written["protocol"]["checkpoint"]["file"] == "iter_18.pth"
    assert written["protocol"]["epoch"] == 3
    assert [p.name for p in checkpoint_files(tmp_path)] == ["iter_18.pth", "iter_12.pth"]
    assert not (tmp_path / "best.pth").exists(), "nothing validates"
    assert list(tmp_path.glob("*.py")), "the config"
    assert list(tmp_path.glob("*/*.log")), "the log"


def test_testing_a_checkpoint_gives_the_last_validation_to_the_last_digit(tiny_config, tmp_path):
    trained = train(tiny_config, tmp_path).last_scores
    tiny_config.pop("train_dataloader")  # no training set is needed
    tested = build_runner(tiny_config, checkpoint=tmp_path / "iter_18.pth", device="cpu").test()
    assert tested == trained
    assert json.loads((tmp_path / "scores.json").read_text())["scores"] == trained


def test_the_model_of_a_checkpoint_has_its_weights_before_anything_is_tested(tiny_config, tmp_path):
    trained = train(tiny_config, tmp_path).model.state_dict()
    built = build_runner(tiny_config, checkpoint=tmp_path / "iter_18.pth", device="cpu").model.state_dict()
    assert built.keys() == trained.keys()
    torch.testing.assert_close(built, trained, rtol=0, atol=0)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_config, tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        train(tiny_config, tmp_path / name, seed=seed)
    assert_same_weights(tmp_path / "a", tmp_path / "b")
    with pytest.raises(AssertionError):
        assert_same_weights(tmp_path / "a", tmp_path / "c")


def test_workers_do_not_change_what_is_trained(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "none")
    tiny_config["train_dataloader"]["num_workers"] = 2
    train(tiny_config, tmp_path / "two")
    assert_same_weights(tmp_path / "none", tmp_path / "two")


@pytest.mark.parametrize("updates", [None, 2])
def test_a_runner_keeps_no_workers_once_it_has_trained_or_failed(tiny_config, tmp_path, updates):
    before = set(multiprocessing.active_children())
    tiny_config["train_dataloader"]["num_workers"] = 1
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    if updates is None:
        runner.train()
    else:
        cut_after(runner, updates)
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize("accumulate", [1, 4])
def test_a_run_stopped_inside_an_epoch_resumes_bit_for_bit(tiny_config, tmp_path, accumulate, capfd):
    tiny_config["optim_wrapper"]["accumulative_counts"] = accumulate  # 4 leaves gradients waiting at iteration 10
    tiny_config["checkpoint"] = dict(interval_iterations=5)
    train(tiny_config, tmp_path / "whole")
    cut_after(build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu"), 10)
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_10.pth"
    train(tiny_config, tmp_path / "cut", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert "mmengine - WARNING" not in "".join(capfd.readouterr())  # it would warn of gradients that are lost


def test_a_run_whose_device_decodes_resumes_bit_for_bit_and_says_so(tiny_config, image_folder, tmp_path):
    for file in image_folder.rglob("*.png"):
        copied = (tmp_path / "jpegs" / file.relative_to(image_folder)).with_suffix(".jpg")
        copied.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).save(copied)
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["decode"] = "device"
        tiny_config[loader]["dataset"]["root"] = str(tmp_path / "jpegs")
    tiny_config["checkpoint"] = dict(interval_iterations=5)
    train(tiny_config, tmp_path / "whole")
    tiny_config["train_dataloader"]["num_workers"] = 2
    cut_after(build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu"), 10)
    train(tiny_config, tmp_path / "cut", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    protocol = json.loads((tmp_path / "cut" / "scores.json").read_text())["protocol"]
    assert protocol["preprocessing"]["decode"] == "on cpu"


PER_CLASS = dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2)


@pytest.mark.parametrize(
    "sampler",
    [
        dict(type="HierarchicalBatchSampler", groups_per_batch=2, classes_per_group=1, samples_per_class=2),
        PER_CLASS | dict(independent_classes=True),
        PER_CLASS | dict(replacement=True),
        dict(type="RandomBatchSampler", batch_size=5, drop_last=False),
    ],
    ids=["hierarchical", "independent classes", "replacement", "random"],
)
def test_every_sampler_is_taken_up_inside_an_epoch_where_it_was(tiny_config, image_folder, tmp_path, sampler):
    files = sorted(file.relative_to(image_folder) for file in image_folder.rglob("*.png"))
    rows = [f"{file},{file.parent},kind {int(file.parent.name[-1]) % 2}" for file in files]
    (tmp_path / "images.csv").write_text("\n".join(["path,label,group", *rows]))
    tiny_config["train_dataloader"]["sampler"] = sampler
    table = dict(type="TableDataset", table=str(tmp_path / "images.csv"), root=str(image_folder))
    for loader in ("train_dataloader", "test_dataloader"):
        replaced = tiny_config[loader]["dataset"]
        tiny_config[loader]["dataset"] = table | {key: replaced[key] for key in ("split", "transform")}
    tiny_config["train_cfg"]["max_epochs"] = 2
    tiny_config["checkpoint"] = dict(interval_iterations=1)
    train(tiny_config, tmp_path / "whole")
    cut_after(build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu"), 7)
    assert checkpoint_files(tmp_path / "cut")[0].name == "iter_7.pth"
    train(tiny_config, tmp_path / "cut", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


KILLS_ITS_PROCESS = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KillsItsProcess(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == int(os.environ.get("KILLED_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_run_killed_with_signal_9_resumes_bit_for_bit(tiny_config, tmp_path):
    tiny_config["checkpoint"] = dict(interval_iterations=1)
    tiny_config["train_cfg"]["max_epochs"] = 3
    tiny_config["train_dataloader"]["num_workers"] = 1
    tiny_config["custom_imports"] = dict(imports=["kills_its_process"])
    tiny_config["custom_hooks"] = [dict(type="KillsItsProcess")]
    (tmp_path / "kills_its_process.py").write_text(KILLS_ITS_PROCESS)
    script = tmp_path / "config.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))

    def train(run: str, *options: str, **variables: str) -> int:
        command = "from metricforge.cli.main import main; main()"
        arguments = ["train", str(script), "--device", "cpu", "--work-dir", str(tmp_path / run), *options]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        finished = subprocess.run(
            [sys.executable, "-c", command, *arguments], env=environment | variables, stdout=subprocess.DEVNULL
        )
        return finished.returncode

    assert train("cut", KILLED_AT="8") == -signal.SIGKILL
    # the newest is written while training goes on
    assert checkpoint_files(tmp_path / "cut")[0].stem in ("iter_7", "iter_8")
    assert train("cut", "--resume") == 0
    assert train("whole") == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_resume_falls_back_from_a_truncated_checkpoint_and_says_so(tiny_config, tmp_path, capsys):
    train(tiny_config, tmp_path / "whole")
    train(tiny_config, tmp_path / "cut")
    newest = tmp_path / "cut" / "iter_18.pth"
    newest.write_bytes(newest.read_bytes()[:1000])
    capsys.readouterr()
    train(tiny_config, tmp_path / "cut", resume=True)
    said = " ".join(capsys.readouterr().out.split())
    assert "iter_18.pth" in said
    assert "falling back" in said
    assert "resumed from iter_12.pth" in said
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_a_moved_run_resumes(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert train(tiny_config, tmp_path / "there", resume=True).iter == 18


def test_resuming_nothing_is_an_error_not_a_fresh_start(tiny_config, tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        train(tiny_config, tmp_path, resume=True)


def test_resuming_with_another_seed_is_an_error(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    with pytest.raises(CheckpointError, match="seed: 3 -> 4"):
        train(tiny_config, tmp_path, resume=True, seed=4)


def test_a_folder_with_a_run_is_not_written_over(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    with pytest.raises(ConfigError, match="holds another run's checkpoints"):
        train(tiny_config, tmp_path)


def test_a_nan_loss_stops_the_run_and_keeps_the_checkpoints_before_it(tiny_config, tmp_path):
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e30
    with pytest.raises(NonFiniteLossError, match=r"iteration \d+ .*ids"):
        train(tiny_config, tmp_path)
    assert all(
        torch.isfinite(w).all() for p in checkpoint_files(tmp_path) for w in load_checkpoint(p)["state_dict"].values()
    )


def test_warm_up_trains_the_new_layers_only(tiny_config, tmp_path):
    tiny_config["train_cfg"] = dict(max_epochs=1, warmup_epochs=1)
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    before = {name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()}
    runner.train()
    moved = {name for name, parameter in runner.model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved
    assert not any(name.startswith("backbone") for name in moved)


def test_after_the_warm_up_all_layers_train(tiny_config, tmp_path):
    tiny_config["train_cfg"] = dict(max_epochs=2, warmup_epochs=1)
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    before = {name: parameter.detach().clone() for name, parameter in runner.model.named_parameters()}
    runner.train()
    still = [name for name, parameter in runner.model.named_parameters() if torch.equal(parameter, before[name])]
    assert still == []


def test_validation_does_not_change_what_is_trained(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "often")
    tiny_config["train_cfg"]["val_interval"] = 0
    train(tiny_config, tmp_path / "never")
    assert_same_weights(tmp_path / "often", tmp_path / "never")


def test_bfloat16_autocast_trains_on_the_cpu(tiny_config, tmp_path):
    tiny_config["optim_wrapper"]["type"] = "AutocastOptimWrapper"
    runner = train(tiny_config, tmp_path)
    assert runner.last_scores["recall@1"] > 0.25


def test_the_console_shows_a_few_lines_and_the_log_file_the_environment(tiny_config, tmp_path, capsys):
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    runner.describe()
    runner.train()
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) < 20
    assert "System environment" not in printed
    assert "TripletLoss" in printed
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "System environment" in log
    assert "epoch 3/3" in log


def test_a_checkpoint_of_another_architecture_is_refused(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    tiny_config["model"]["head"]["dim"] = 16
    with pytest.raises(CheckpointError, match=r"head.* is \(8, .*in the checkpoint, \(16, "):
        build_runner(tiny_config, checkpoint=tmp_path / "iter_18.pth", device="cpu").test()


def test_a_score_that_no_evaluator_gives_cannot_choose_the_best(tiny_config, folder_of_24_classes, tmp_path):
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.2, checkpoint=dict(save_best="recall@7"))
    with pytest.raises(ValueError, match=r"save_best: no evaluator gives the score 'recall@7'"):
        train(tiny_config, tmp_path)


def test_baselines_are_measured_on_the_same_images_and_kept_through_a_resume(tiny_config, tmp_path):
    tiny_config["baselines"] = {"untrained": dict(similarity=dict(type="CosineSimilarity"))}
    first = train(tiny_config, tmp_path).baseline_scores
    assert set(first["untrained"]) == {"recall@1", "recall@2", "map@r", "nmi"}
    assert train(tiny_config, tmp_path, resume=True).baseline_scores == first
    assert json.loads((tmp_path / "scores.json").read_text())["protocol"]["baselines"] == first


def test_two_runs_started_in_the_same_second_share_nothing(tiny_config, tmp_path):
    first = build_runner(tiny_config, work_dir=tmp_path / "a", device="cpu")
    second = build_runner(tiny_config, work_dir=tmp_path / "b", device="cpu")
    assert first.message_hub is not second.message_hub
    assert first.visualizer is not second.visualizer
    assert first.logger is not second.logger


def test_a_run_gives_no_warning_that_its_user_cannot_act_on(tiny_config, tmp_path, recwarn):
    train(tiny_config, tmp_path)
    assert [str(warning.message) for warning in recwarn] == []


def test_averaged_weights_of_mmengine_s_hook_resume_bit_for_bit(tiny_config, tmp_path):
    tiny_config["custom_hooks"] = [dict(type="EMAHook", momentum=0.1)]
    train(tiny_config, tmp_path / "whole")
    train(tiny_config, tmp_path / "cut")
    (tmp_path / "cut" / "iter_18.pth").unlink()
    train(tiny_config, tmp_path / "cut", resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_final_evaluators_are_scored_by_a_test_alone(tiny_config, folder_of_24_classes, tmp_path):
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.2)
    tiny_config["evaluators"] = [dict(type="RecallAtK", ks=[1])]
    tiny_config["final_evaluators"] = [dict(type="MAPAtR")]
    trained = train(tiny_config, tmp_path)
    by_epoch = [list(line["scores"]) for line in read_history(tmp_path) if "scores" in line]
    assert by_epoch == [["recall@1"], ["recall@1"], ["recall@1"], ["recall@1", "map@r"]]
    assert [e["type"] for e in json.loads((tmp_path / "scores.json").read_text())["protocol"]["evaluators"]] == [
        "RecallAtK",
        "MAPAtR",
    ]
    tested = build_runner(tiny_config, checkpoint=tmp_path / "best.pth", device="cpu").test()
    assert tested == trained.last_scores


def test_a_fault_in_a_final_evaluator_is_found_before_training(tiny_config, tmp_path):
    tiny_config["final_evaluators"] = [dict(type="NMI"), dict(type="MAPatR")]
    with pytest.raises(ConfigError, match=r'final_evaluators\[1\].type: "MAPatR" .* did you mean "MAPAtR"'):
        train(tiny_config, tmp_path)


def test_how_much_a_search_holds_can_be_set_and_changes_no_score(tiny_config, tmp_path):
    expected = train(tiny_config, tmp_path / "a").last_scores
    assert train(tiny_config | dict(test_cfg=dict(scores_at_once=7)), tmp_path / "b").last_scores == expected
    with pytest.raises(ConfigError, match=r"test_cfg.*scores_at_onc.*scores_at_once"):
        train(tiny_config | dict(test_cfg=dict(scores_at_onc=7)), tmp_path / "c")


def test_the_history_of_a_resumed_run_is_that_of_an_uninterrupted_one(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "whole")
    whole = read_history(tmp_path / "whole")
    assert [line["iteration"] for line in whole if "losses" in line] == list(range(2, 19, 2))
    assert [(line["epoch"], line["of"]) for line in whole if "scores" in line] == [(3, "test classes")]

    runner = build_runner(tiny_config, work_dir=tmp_path / "cut", device="cpu")
    cut_after(runner, 15)
    with (tmp_path / "cut" / "history.jsonl").open("a") as file:
        file.write('{"iteration": 16, "los')  # what a crash in the middle of writing leaves
    train(tiny_config, tmp_path / "cut", resume=True)
    timed = {"diagnostics", "diagnosis"}  # how often the doctor looks depends on the clock
    assert [line for line in read_history(tmp_path / "cut") if not timed & line.keys()] == [
        line for line in whole if not timed & line.keys()
    ]
