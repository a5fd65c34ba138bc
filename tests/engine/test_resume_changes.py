"""A resumed run is the same run: what was changed takes effect and is written down, or is refused; nothing between."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from metricforge import build_runner
from metricforge.comparison import compare_runs
from metricforge.config import read_config
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError, ConfigError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.run_records.history import read_history


def train(config, folder, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    runner.train()
    return runner


def final_weights(folder):
    return load_checkpoint(checkpoint_files(folder)[0])["state_dict"]


def rates_of(folder, after=0):
    lines = [line for line in read_history(folder) if "losses" in line]
    return {line["iteration"]: line["lr"] for line in lines if line["iteration"] > after}


@pytest.fixture
def config_file(tiny_config, tmp_path):
    """Three epochs of six iterations, by a config file."""
    tiny_config.pop("param_scheduler")
    path = tmp_path / "tiny.py"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    return path


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"optim_wrapper.optimizer.lr": 0.01}, "optim_wrapper.optimizer.lr: 0.001 -> 0.01"),
        ({"optim_wrapper.optimizer.weight_decay": 0.3}, "optim_wrapper.optimizer.weight_decay: not set -> 0.3"),
        ({"optim_wrapper.optimizer.type": "RMSprop"}, "optim_wrapper.optimizer.type: AdamW -> RMSprop"),
        (
            {"param_scheduler": [dict(type="MultiStepLR", milestones=[1, 2])]},
            r"param_scheduler.0.milestones: not set -> \[1, 2\]",
        ),
        ({"model.loss.margin": 0.1}, "model.loss.margin: 0.5 -> 0.1"),
        ({"train_cfg.max_epochs": 1}, "train_cfg.max_epochs: 2 -> 1"),
        ({"train_cfg.warmup_epochs": 1}, "train_cfg.warmup_epochs: not set -> 1"),
        ({"train_dataloader.sampler.samples_per_class": 3}, "samples_per_class: 2 -> 3"),
        ({"train_dataloader.dataset.transform.0.size": 20}, "train_dataloader.dataset.transform.0.size: 16 -> 20"),
        ({"test_dataloader.dataset.transform.0.size": 20}, "test_dataloader.dataset.transform.0.size: 16 -> 20"),
        ({"validation": "test"}, "validation: not set -> test"),
        ({"seed": 4}, "seed: 3 -> 4"),
    ],
)
def test_another_run_is_refused_with_old_and_new_value_and_the_saved_config_stays(
    config_file, tmp_path, overrides, said
):
    train(config_file, tmp_path / "run", overrides={"train_cfg.max_epochs": 2})
    before = (tmp_path / "run" / "tiny.py").read_bytes()
    with pytest.raises(CheckpointError, match=said) as refused:
        train(config_file, tmp_path / "run", overrides={"train_cfg.max_epochs": 2} | overrides, resume=True)
    assert "--allow-changes" in str(refused.value)
    assert (tmp_path / "run" / "tiny.py").read_bytes() == before


def test_all_changes_are_listed_together(config_file, tmp_path):
    train(config_file, tmp_path / "run")
    overrides = {"optim_wrapper.optimizer.lr": 0.01, "model.loss.margin": 0.1, "train_cfg.log_interval": 5}
    with pytest.raises(CheckpointError) as refused:
        train(config_file, tmp_path / "run", overrides=overrides, resume=True)
    listed = [line for line in str(refused.value).splitlines() if line.startswith("  - ")]
    assert listed == ["  - model.loss.margin: 0.5 -> 0.1", "  - optim_wrapper.optimizer.lr: 0.001 -> 0.01"]


def test_more_epochs_make_of_a_run_the_one_that_had_them_from_the_start(config_file, tmp_path):
    train(config_file, tmp_path / "whole", overrides={"train_cfg.max_epochs": 4})
    train(config_file, tmp_path / "run", overrides={"train_cfg.max_epochs": 2})
    train(config_file, tmp_path / "run", overrides={"train_cfg.max_epochs": 4}, resume=True)
    whole, longer = final_weights(tmp_path / "whole"), final_weights(tmp_path / "run")
    assert [name for name in whole if not torch.equal(whole[name], longer[name])] == []
    changes = [line for line in read_history(tmp_path / "run") if "changes" in line]
    assert changes == [{"iteration": 12, "epoch": 2.0, "changes": {"train_cfg.max_epochs": [2, 4]}}]


def test_evaluators_logging_and_workers_take_effect_without_being_asked_for(config_file, tmp_path):
    train(config_file, tmp_path / "run", overrides={"train_cfg.max_epochs": 2})
    overrides = {
        "train_cfg.max_epochs": 3,
        "train_cfg.log_interval": 3,
        "evaluators": [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR"), dict(type="CMC", ks=[1])],
        "train_dataloader.num_workers": 1,
        "test_dataloader.batch_size": 3,
        "checkpoint.interval": 3,
    }
    runner = train(config_file, tmp_path / "run", overrides=overrides, resume=True)
    assert sorted(runner.last_scores) == ["cmc@1", "map@r", "recall@1"]
    assert list(rates_of(tmp_path / "run", after=12)) == [15, 18]
    assert [path.name for path in checkpoint_files(tmp_path / "run")] == ["iter_18.pth", "iter_12.pth"]


def test_an_allowed_learning_rate_takes_effect_at_once_and_is_in_history_and_config(config_file, tmp_path):
    train(config_file, tmp_path / "run")
    overrides = {"optim_wrapper.optimizer.lr": 0.01, "train_cfg.max_epochs": 4}
    train(config_file, tmp_path / "run", overrides=overrides, resume=True, allow_changes=True)
    assert rates_of(tmp_path / "run", after=18) == {20: [0.01], 22: [0.01], 24: [0.01]}
    (line,) = [line for line in read_history(tmp_path / "run") if "changes" in line]
    assert line["changes"] == {"optim_wrapper.optimizer.lr": [0.001, 0.01], "train_cfg.max_epochs": [3, 4]}
    assert read_config(tmp_path / "run" / "tiny.py").optim_wrapper.optimizer.lr == 0.01


@pytest.mark.parametrize(
    "schedule",
    [
        [dict(type="MultiStepLR", milestones=[1, 4], gamma=0.1)],
        [
            dict(type="LinearLR", start_factor=0.1, begin=0, end=7, by_epoch=False),
            dict(type="CosineAnnealingLR", T_max=5, end=5, convert_to_iter_based=True),
        ],
    ],
)
def test_an_allowed_schedule_goes_on_as_if_it_had_been_there_from_the_start(config_file, tmp_path, schedule):
    new = {"param_scheduler": schedule, "optim_wrapper.optimizer.lr": 0.004, "train_cfg.max_epochs": 5}
    train(config_file, tmp_path / "whole", overrides=new)
    train(config_file, tmp_path / "run")
    train(config_file, tmp_path / "run", overrides=new, resume=True, allow_changes=True)
    expected, found = rates_of(tmp_path / "whole", after=18), rates_of(tmp_path / "run", after=18)
    assert found.keys() == expected.keys()
    assert all(found[step] == pytest.approx(expected[step], rel=1e-9) for step in expected)


def test_an_allowed_optimizer_of_another_kind_begins_anew_and_says_so(config_file, tmp_path, capsys):
    train(config_file, tmp_path / "run")
    overrides = {"optim_wrapper.optimizer": dict(_delete_=True, type="SGD", lr=0.1), "train_cfg.max_epochs": 4}
    runner = train(config_file, tmp_path / "run", overrides=overrides, resume=True, allow_changes=True)
    assert type(runner.optim_wrapper.optimizer).__name__ == "SGD"
    said = capsys.readouterr().out
    assert "the optimizer begins anew" in said
    assert "changed  optim_wrapper.optimizer.type: AdamW -> SGD" in said
    assert rates_of(tmp_path / "run", after=18)[24] == [0.1]


def test_another_number_of_batches_cannot_take_effect_and_says_so(config_file, tmp_path):
    train(config_file, tmp_path / "run")
    overrides = {"train_dataloader.sampler.batches_per_epoch": 4}
    with pytest.raises(CheckpointError, match=r"not even with --allow-changes.*\n.*batches per epoch: 6 -> 4"):
        train(config_file, tmp_path / "run", overrides=overrides, resume=True, allow_changes=True)


def test_allowing_changes_without_a_resume_is_an_error(config_file, tmp_path):
    with pytest.raises(ConfigError, match="--allow-changes: is for a run that --resume takes up"):
        train(config_file, tmp_path / "run", allow_changes=True)


def test_a_renamed_folder_of_the_same_images_resumes_and_compares(tiny_config, image_folder, tmp_path):
    images = tmp_path / "birds"
    shutil.copytree(image_folder, images)
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["root"] = str(images)
    train(tiny_config, tmp_path / "a")
    images = images.rename(tmp_path / "fowl")
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["root"] = str(images)
    tiny_config["train_cfg"]["max_epochs"] = 4
    assert train(tiny_config, tmp_path / "a", resume=True).iter == 24
    train(tiny_config, tmp_path / "b")
    assert compare_runs([tmp_path / "a", tmp_path / "b"], resamples=100).withheld == ()
    next(images.rglob("*.png")).write_bytes(next(images.rglob("5.png")).read_bytes() + b"0")
    tiny_config["train_cfg"]["max_epochs"] = 5
    with pytest.raises(CheckpointError, match=r"(training|test) images: \w{16} -> \w{16}"):
        train(tiny_config, tmp_path / "a", resume=True)


def test_a_run_that_stops_early_ends_with_all_scores_and_its_last_checkpoint(tiny_config, tmp_path):
    tiny_config["validation"] = "test"
    tiny_config["final_evaluators"] = [dict(type="CMC", ks=[1])]
    tiny_config["custom_hooks"] = [
        dict(type="EarlyStoppingHook", monitor="recall@1", rule="greater", patience=1, min_delta=2.0)
    ]
    tiny_config["checkpoint"] = dict(interval=50)
    tiny_config["train_cfg"]["max_epochs"] = 9
    runner = train(tiny_config, tmp_path)
    assert runner.iter < 54
    assert "cmc@1" in json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert checkpoint_files(tmp_path)[0].name == f"iter_{runner.iter}.pth"


def test_the_last_line_of_an_epoch_counts_its_iterations_and_each_group_s_rate_is_there(tiny_config, tmp_path):
    tiny_config["train_cfg"] = dict(max_epochs=2, log_interval=4)
    tiny_config["param_scheduler"] = []
    tiny_config["optim_wrapper"]["paramwise_cfg"] = dict(custom_keys={"backbone": dict(lr_mult=0.1)})
    train(tiny_config, tmp_path)
    lines = [line for line in read_history(tmp_path) if "losses" in line]
    assert [(line["iteration"], line["epoch"]) for line in lines] == [(4, 4 / 6), (6, 1), (8, 8 / 6), (12, 2)]
    assert all(sorted(line["lr"]) == pytest.approx([1e-4, 1e-3]) for line in lines)


def test_a_checkpoint_at_the_end_of_an_epoch_has_the_schedule_after_it(tiny_config, tmp_path):
    tiny_config["param_scheduler"] = [dict(type="StepLR", step_size=1, gamma=0.5)]
    tiny_config["checkpoint"] = dict(interval=50, interval_iterations=6)
    train(tiny_config, tmp_path / "whole")
    train(tiny_config, tmp_path / "cut")
    (tmp_path / "cut" / "iter_18.pth").unlink()
    train(tiny_config, tmp_path / "cut", resume=True)
    assert rates_of(tmp_path / "cut") == rates_of(tmp_path / "whole")


def test_a_schedule_that_keeps_a_function_resumes_bit_for_bit(tiny_config, tmp_path):
    tiny_config["param_scheduler"] = [dict(type="OneCycleLR", eta_max=0.01, total_steps=18, by_epoch=False)]
    train(tiny_config, tmp_path / "whole")
    train(tiny_config, tmp_path / "cut")
    (tmp_path / "cut" / "iter_18.pth").unlink()
    train(tiny_config, tmp_path / "cut", resume=True)
    assert rates_of(tmp_path / "cut") == rates_of(tmp_path / "whole")
    whole, resumed = final_weights(tmp_path / "whole"), final_weights(tmp_path / "cut")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
