"""Runs whose weights mmengine's EMAHook averages: those are what is scored, wherever they come from."""

from __future__ import annotations

import io
import json

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console

from metricforge import build_runner
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.engine.records.checkpoints import load_checkpoint

EMA = dict(type="EMAHook", momentum=0.1)


def protocol_of(runner) -> dict:
    return json.loads((runner.evaluation_dir / "scores.json").read_text())["protocol"]


def recall_at_1(model, runner) -> float:
    """Scored here, by hand, from what ``model`` embeds."""
    embedded = embed_dataset(model, runner.test_dataloader, runner.device)
    points = torch.from_numpy(embedded.embeddings).double()
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    labels = torch.from_numpy(embedded.labels)
    return float((labels[distances.argmin(1)] == labels).double().mean())


def test_a_test_scores_the_averaged_weights_as_training_did_and_says_so(tiny_config, tmp_path):
    tiny_config |= dict(custom_hooks=[EMA], train_cfg=dict(max_epochs=3, log_interval=2))
    trained = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    trained.train()
    assert protocol_of(trained)["choice"]["averaged"] is True
    checkpoint = load_checkpoint(tmp_path / "iter_18.pth")
    raw = {
        name.removeprefix("module."): value for name, value in checkpoint["ema_state_dict"].items() if "module." in name
    }
    assert any(not torch.equal(raw[name], weight) for name, weight in checkpoint["state_dict"].items())

    for hooks in ([EMA], []):  # the checkpoint knows it by itself
        shown = io.StringIO()
        tested = build_runner(
            tiny_config | dict(custom_hooks=hooks),
            checkpoint=tmp_path / "iter_18.pth",
            device="cpu",
            console=Console(file=shown, width=200),
        )
        tested.describe()
        assert "iter_18.pth, averaged by EMAHook" in shown.getvalue()
        assert tested.test() == trained.last_scores
        assert protocol_of(tested)["choice"]["averaged"] is True
        averaged = tested.model.state_dict()
        assert all(torch.equal(averaged[name], weight) for name, weight in checkpoint["state_dict"].items())
        assert tested.last_scores["recall@1"] == pytest.approx(recall_at_1(tested.model, tested))
        assert tested.test() == trained.last_scores, "again, with the hook's own swapping undone"


def test_the_best_averaged_weights_are_scored_after_a_resume_too(tiny_config, folder_of_24_classes, tmp_path):
    tiny_config |= dict(
        data_root=str(folder_of_24_classes), validation=0.2, custom_hooks=[EMA], checkpoint=dict(save_best="recall@1")
    )
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    runner.train()
    tested = build_runner(tiny_config, checkpoint=tmp_path / "best.pth", device="cpu")
    assert tested.test() == runner.last_scores
    resumed = build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=True)
    resumed.train()
    assert resumed.last_scores == runner.last_scores
    assert protocol_of(resumed)["choice"]["averaged"] is True


def test_a_checkpoint_without_averaged_weights_is_tested_as_it_is(tiny_config, tmp_path):
    trained = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    trained.train()
    assert "averaged" not in protocol_of(trained)["choice"]
    tested = build_runner(tiny_config | dict(custom_hooks=[EMA]), checkpoint=tmp_path / "iter_18.pth", device="cpu")
    assert tested.test() == trained.last_scores
    assert "averaged" not in protocol_of(tested)["choice"]


def test_hooks_of_an_evaluation_see_its_checkpoint_after_before_run(tiny_config, tmp_path):
    build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()

    class Recorder(Hook):
        def before_run(self, runner):
            self.seen = ["before_run"]

        def after_load_checkpoint(self, runner, checkpoint):
            self.seen.append(checkpoint["meta"]["iteration"])

    HOOKS.register_module(name="Recorder", module=Recorder)
    try:
        cfg = tiny_config | dict(custom_hooks=[dict(type="Recorder")])
        runner = build_runner(cfg, checkpoint=tmp_path / "iter_18.pth", device="cpu")
        runner.test()
    finally:
        HOOKS.module_dict.pop("Recorder")
    (hook,) = [hook for hook in runner.hooks if isinstance(hook, Recorder)]
    assert hook.seen == ["before_run", 18]
