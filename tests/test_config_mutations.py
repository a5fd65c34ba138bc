"""Whatever is wrong with a config is a fault with its place: nothing else is ever raised."""

from __future__ import annotations

import io
import os
import random
import warnings
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.config import Config
from rich.console import Console

from metricforge import build_runner
from metricforge.config import complete_config, override_config, read_config
from metricforge.config_check import check_config
from metricforge.errors import ConfigError, DatasetError, MetricForgeError
from metricforge.registry import LOSSES, MINERS, SIMILARITIES
from tests.config_mutations import mutated

CONFIGS = sorted(path.stem for path in (Path(__file__).parents[1] / "configs").glob("*.py"))
FUZZES = hypothesis.settings.default.max_examples > 100
SEEDS = st.integers(0, 2**64)


def faults_of(content: dict) -> list[str]:
    config = Config(content)
    complete_config(config)
    return check_config(config, num_classes=7)


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=5_000 if FUZZES else 4)
@given(seed=SEEDS)
def test_mistakes_in_a_shipped_config_are_its_faults(name, seed):
    content, mistakes = mutated(read(name), random.Random(seed))
    hypothesis.note(mistakes)
    with suppress(ConfigError):
        assert all(isinstance(fault, str) for fault in faults_of(content))


shipped: dict[str, dict] = {}


def read(name: str) -> dict:
    if name not in shipped:
        shipped[name] = read_config(name).to_dict()
    return shipped[name]


@settings(max_examples=1_000 if FUZZES else 25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_a_config_with_mistakes_builds_and_trains_or_says_why_not(tiny_config, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("run")
    tiny_config["validation"] = "test"
    tiny_config["checkpoint"] = dict(interval=1, max_keep=2)
    tiny_config["custom_hooks"] = [dict(type="EarlyStoppingHook", monitor="recall@1", rule="greater")]
    content, mistakes = mutated(tiny_config, random.Random(seed))
    hypothesis.note(mistakes)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with warnings.catch_warnings(), suppress(MetricForgeError):
            warnings.simplefilter("ignore")
            runner = build_runner(content, work_dir=folder / "run", device="cpu", console=Console(quiet=True))
            loaders = [content.get(f"{part}_dataloader", {}).get("num_workers", 0) for part in ("train", "test")]
            if max(loaders) == 0 and runner.max_epochs <= 3 and len(runner._train_dataloader) <= 20:
                runner.train()
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("model.loss", {"type": ["TripletLoss"]}, r"model\.loss\.type: \['TripletLoss'\] must be the name of a loss"),
        ("checkpoint", {"max_keep": 1}, r"checkpoint: max_keep must be >= 2"),
        ("param_scheduler", [{"type": "StepLR", "step_size": 1, "gamma": "x"}], r"param_scheduler\[0\]: "),
        (
            "param_scheduler",
            [{"type": "LinearLR", "begin": 3, "end": 2}],
            r"param_scheduler\[0\]: end should be larger",
        ),
        ("param_scheduler", [{"type": {"a": 1}}], r"param_scheduler\[0\]\.type: "),
        ("optim_wrapper.optimizer", {"type": "SGD", "lr": -1.0}, r"optim_wrapper: .*learning rate"),
        ("model", 3, r"model: 3 must be a dict"),
        ("baselines", [3], r"baselines: \[3\] must be a dict"),
        ("evaluators", "RecallAtK", r"evaluators: 'RecallAtK' must be a list"),
        ("evaluators", [3], r"evaluators\[0\]: 3 must be a dict with a type"),
        (
            "evaluators",
            [{"type": "NMI"}, {"type": "NMI"}],
            r"evaluators\[1\]: gives the same scores as evaluators\[0\]",
        ),
        ("final_evaluators", [{"type": "RecallAtK", "ks": [2, 8]}], r"final_evaluators\[0\]: .* as evaluators\[0\]"),
        ("custom_hooks", [{"type": "EMAHook"}] * 2, r"custom_hooks\[1\]: repeats custom_hooks\[0\]"),
        (
            "optim_wrapper.clip_grad",
            {"max_norm": -1.0},
            r"optim_wrapper\.clip_grad\.max_norm: -1\.0 must be a number > 0",
        ),
        ("optim_wrapper.clip_grad", 1, r"optim_wrapper\.clip_grad: 1 must be a dict such as dict\(max_norm=1\)"),
        (
            "optim_wrapper.clip_grad",
            {"max_norm": 1, "error_if_nonfinite": "no"},
            r"optim_wrapper\.clip_grad\.error_if_nonfinite: 'no' must be True or False",
        ),
        ("optim_wrapper.clip_grad", {"max_norn": 1}, r"clip_grad\.max_norn: there is no such key.*max_norm"),
        ("optim_wrapper.optimizer.lr", float("nan"), r"optim_wrapper\.optimizer\.lr: nan must be a number"),
        ("optim_wrapper.paramwise_cfg", {"custom_keys": {"head": {"lr_mult": "2"}}}, r"lr_mult: '2' must be a number"),
        (
            "param_scheduler",
            [{"type": "MultiStepLR", "milestones": [-1]}],
            r"param_scheduler\[0\]\.milestones: -1 is never reached",
        ),
        ("model.head.dim", 10**12, r"model\.head: EmbeddingHead does not fit into memory"),
        ("train_cfg.log_interval", 0, r"train_cfg\.log_interval: 0 must be >= 1"),
        ("train_dataloader.num_workers", 2**31, r"train_dataloader\.num_workers: 2147483648 must be an integer from 0"),
        ("train_dataloader.fingerprint", "md5", r"train_dataloader\.fingerprint: 'md5' must be \"sizes\" or \"bytes\""),
        ("train_dataloader.dataset.transform", 3, r"dataset\.transform: 3 must be a list"),
        ("seed", 2**31, r"seed: 2147483648 must be an integer from 0 to 2147483647"),
        ("custom_imports", {"imports": ["no_such_module_anywhere"]}, r"no_such_module_anywhere cannot be imported"),
        ("optim_wrapper.accumulative_counts", 1.5, r"accumulative_counts: 1\.5 must be an integer >= 1"),
        (
            "param_scheduler",
            [{"type": "StepLR", "step_size": 1, "gamma": -1.0}],
            r"learning rate of -0\.1, which",
        ),
        ("param_scheduler", [{"type": "CosineAnnealingLR", "T_max": 0}], r"param_scheduler\[0\]\.T_max: 0 must be > 0"),
        ("param_scheduler", [{"type": "StepLR", "step_size": 0}], r"param_scheduler\[0\]\.step_size: 0 must be > 0"),
        (
            "param_scheduler",
            [{"type": "LinearLR", "start_factor": 0, "begin": 9}],
            r"param_scheduler\[0\]\.start_factor: 0 must be > 0",
        ),
        (
            "param_scheduler",
            [{"type": "StepLR", "step_size": 1, "begin": -5}],
            r"param_scheduler\[0\]\.begin: -5 must be >= 0",
        ),
        ("param_scheduler", [{"type": "MultiStepLR", "milestones": [1.5]}], r"milestones: \[1\.5\] must be integers"),
        ("custom_hooks", [{"type": "EMAHook", "momentum": 2.0}], r"custom_hooks\[0\]: momentum must be in range"),
        ("custom_hooks", [{"type": "EMAHook", "interval": 0}], r"custom_hooks\[0\]: "),
        ("custom_hooks", [{"type": "EMAHook", "interval": 1.5}], r"custom_hooks\[0\]: interval must be an integer"),
        ("optim_wrapper.paramwise_cfg", {"layer_decay": "x"}, r"layer_decay: 'x' must be above 0 and at most 1"),
        ("optim_wrapper.optimizer.foreach", "no", r"optimizer\.foreach: 'no' must be True or False or None"),
        ("param_scheduler", [{"type": "ConstantLR", "by_epoch": "no"}], r"by_epoch: 'no' must be True or False"),
        ("custom_hooks", [{"type": "EMAHook", "ema_type": "NoSuch"}], r"custom_hooks\[0\]: .*NoSuch"),
        ("custom_hooks", [{"type": "EMAHook", "begin_iter": -5}], r"custom_hooks\[0\]: `begin_iter` must"),
        ("custom_hooks", [{"type": "EMAHook", "priority": "SOON"}], r"custom_hooks\[0\]\.priority: 'SOON' must be"),
        ("custom_hooks", [{"type": "EMAHook", "priority": 1000}], r"custom_hooks\[0\]\.priority: 1000 must be"),
        ("custom_hooks", [{"type": "CheckpointHook"}], r"custom_hooks\[0\]: mmengine's CheckpointHook"),
        ("param_scheduler", [{"type": "StepLR", "step_size": 1.5}], r"step_size: 1\.5 must be an integer"),
        (
            "param_scheduler",
            [{"type": "OneCycleLR", "eta_max": 0.1, "total_steps": 4, "by_epoch": False}],
            "at least the",
        ),
        ("test_cfg", {"scores_at_once": 0}, r"test_cfg\.scores_at_once: 0 must be >= 1"),
        ("visualizer", {"type": "NoSuch"}, r"visualizer\.type: 'NoSuch' must be one of .*Visualizer"),
        ("visualizer", {"vis_backends": []}, r"visualizer\.type: None must be one of"),
        ("visualizer", {"type": "Visualizer", "x": 1}, r"visualizer\.x: Visualizer has no such argument"),
        ("visualizer", {"type": "Visualizer", "vis_backends": [3]}, r"vis_backends\[0\]: 3 must be a dict"),
        (
            "visualizer",
            {"type": "Visualizer", "vis_backends": "Tensorboard"},
            r"vis_backends: 'Tensorboard' must",
        ),
        (
            "visualizer",
            {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend", "save_dri": "x"}]},
            r"vis_backends\[0\]\.save_dri: LocalVisBackend has no such argument",
        ),
        ("custom_imports", {"imports": 3}, r"custom_imports\.imports: 3 must be a list"),
        ("model.loss", {"type": "TripletLoss", 3: 4}, r"model\.loss\.3: TripletLoss has no such argument"),
        ("optim_wrapper.optimizer.lr", 10**400, r"optim_wrapper\.optimizer\.lr: 10+ must be a number"),
        ("validation", np.array([1, 2]), r"validation: array\(\[1, 2\]\) must be a number .*, a list or a dict"),
        ("checkpoint", {"save_best": torch.ones(2)}, r"checkpoint\.save_best: tensor.* must be a number"),
        ("train_cfg.hang_seconds", float("inf"), r"train_cfg\.hang_seconds: inf must be a number \(NaN and inf"),
        ("evaluators", [{"type": "RecallAtK", "ks": [Fraction(1, 3)]}], r"evaluators\[0\]\.ks\[0\]: Fraction"),
        ("baselines", {"it's raw": {}}, r"baselines\.it's raw: a key must be without ' and"),
        (
            "param_scheduler",
            [{"type": "CosineRestartLR", "periods": [3]}],
            r"param_scheduler\[0\]: AssertionError: assert .*eta_min",
        ),
        ("custom_hooks", [{"type": "NPUProfilerHook"}], r"NPUProfilerHook: Failed to import torch_npu"),
        ("param_scheduler", [[]], r"param_scheduler\[0\]: \[\] must be a dict with a type"),
        ("param_scheduler", [{"type": "MultiStepLR", "milestones": ["1"]}], r"milestones: \['1'\] must be integers"),
        (
            "param_scheduler",
            [{"type": "StepLR", "step_size": 1, "convert_to_iter_based": "no"}],
            r"convert_to_iter_based: 'no' must be True or False",
        ),
    ],
)
def test_what_was_a_raw_error_once_is_a_fault_with_its_place(tiny_config, tmp_path, key, value, fault):
    config = Config(tiny_config)
    override_config(config, {key: {**value, "_delete_": True} if isinstance(value, dict) else value})
    with pytest.raises(ConfigError, match=fault):
        build_runner(config.to_dict(), work_dir=tmp_path / "run", device="cpu")


@pytest.mark.parametrize(
    "step",
    [{"type": "CenterCrop", "size": "16"}, {"type": "RandomResizedCrop", "size": 16, "scale": (0.5, 0.1)}],
    ids=lambda step: step["type"],
)
def test_a_step_of_torchvision_that_cannot_take_an_image_is_named_with_it(tiny_config, tmp_path, step):
    tiny_config["train_dataloader"]["dataset"]["transform"] = [step]
    with pytest.raises(DatasetError, match=rf"transform {step['type']} of .* cannot take .*class_.*png: "):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")


def test_a_path_is_written_to_the_run_s_config_as_its_text(tiny_config, image_folder, tmp_path):
    tiny_config["data_root"] = image_folder
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    runner.cfg.dump(tmp_path / "written.py")
    assert read_config(tmp_path / "written.py").data_root == str(image_folder)


@pytest.mark.parametrize("code", ["raise SystemExit", "raise SystemExit('enough')", "import sys\nsys.exit(0)\n"])
def test_a_config_that_exits_is_named_instead_of_ending_the_command_in_silence(tmp_path, code):
    (tmp_path / "leaves.py").write_text(code)
    with pytest.raises(ConfigError, match=r"leaves\.py:\n  - it ends the process \(SystemExit: .*only assigns values"):
        read_config(tmp_path / "leaves.py")


def test_a_component_without_arguments_refuses_any():
    for registry in (LOSSES, MINERS, SIMILARITIES):
        for name in registry.names():
            if name.startswith("pml."):
                continue
            given = {"type": name, "no_such_argument": 1}
            faults = registry.faults(given, "here", {"num_classes": 4, "dim": 4, "feature_dim": 4})
            assert any("no_such_argument" in fault for fault in faults), name


def test_a_plug_in_that_exits_while_it_is_imported_is_named(tiny_config, tmp_path, monkeypatch):
    (tmp_path / "leaves_at_once.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    tiny_config["custom_imports"] = dict(imports=["leaves_at_once"])
    with pytest.raises(ConfigError, match="leaves_at_once cannot be imported"):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")


def test_a_score_that_no_evaluator_gives_is_refused_before_training(tiny_config, tmp_path):
    tiny_config |= dict(validation="test", checkpoint=dict(save_best="recall@3"))
    with pytest.raises(
        ConfigError, match=r"save_best: no evaluator gives the score 'recall@3'; take one of .*recall@2"
    ):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    tiny_config["checkpoint"]["save_best"] = "map@r"
    build_runner(tiny_config, work_dir=tmp_path / "other", device="cpu")


def test_an_override_leaves_no_mark_of_deletion_in_a_list(tiny_config):
    config = Config(tiny_config)
    override_config(
        config, {"evaluators[1]": dict(type="NMI", _delete_=True), "param_scheduler": [dict(_delete_=True)]}
    )
    assert config.to_dict()["evaluators"][1] == dict(type="NMI")
    assert config.to_dict()["param_scheduler"] == [{}]


def test_testing_with_the_training_images_is_said(tiny_config, tmp_path):
    said = io.StringIO()
    tiny_config["test_dataloader"]["dataset"]["split"] = "train"
    tiny_config["train_cfg"]["max_epochs"] = 1
    build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu", console=Console(file=said)).train()
    assert "the test images are the training images" in said.getvalue()


def test_no_options_of_checkpoints_are_the_usual_ones(tiny_config, tmp_path):
    assert build_runner(tiny_config | dict(checkpoint=None), work_dir=tmp_path, device="cpu").writer.on_error == "stop"
