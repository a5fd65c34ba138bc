"""What a training recorded never changes, and nobody else writes where it does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from metricforge import build_runner
from metricforge.comparison import read_run
from metricforge.engine.records.checkpoints import file_hash
from metricforge.errors import ComparisonError, ConfigError, RunFolderError
from metricforge.run_records.checkpoint_files import checkpoint_files


def train(config, folder, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    runner.train()
    return runner


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_test_writes_beside_the_run_and_changes_nothing_in_it(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    before = content_of(tmp_path)
    tiny_config["evaluators"] = [dict(type="MAPAtR")]
    for _ in range(2):
        build_runner(tiny_config, checkpoint=tmp_path / "iter_18.pth", device="cpu").test()
    after = content_of(tmp_path)
    assert {name: after[name] for name in before} == before
    new = sorted(after.keys() - before.keys())
    files = ("scores.json", "scores.queries.npz", "triplet_image_folder.py")
    assert new == [f"evaluations/iter_18-{number}/{name}" for number in (1, 2) for name in files]
    written = json.loads(after["evaluations/iter_18-1/scores.json"])
    assert list(written["scores"]) == ["map@r"]
    assert written["protocol"]["checkpoint"]["file"] == "iter_18.pth"
    assert b"MAPAtR" in after["evaluations/iter_18-1/triplet_image_folder.py"]


def test_building_for_a_checkpoint_writes_nothing(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    before = content_of(tmp_path)
    build_runner(tiny_config, checkpoint=tmp_path / "iter_18.pth", device="cpu")
    assert content_of(tmp_path) == before


def test_the_runner_that_trained_tests_into_a_folder_of_its_own(tiny_config, tmp_path):
    tiny_config["validation"] = "test"
    runner = train(tiny_config, tmp_path)
    before = content_of(tmp_path)
    assert runner.test() == runner.val()
    after = content_of(tmp_path)
    assert [name for name in before if after[name] != before[name] and not name.endswith(".log")] == []
    folders = [path.parent.name for path in sorted(tmp_path.glob("evaluations/*/scores.json"))]
    assert folders == ["best-1"], "a validation writes no scores"


def test_an_evaluation_never_goes_where_a_run_or_an_evaluation_is(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "run")
    checkpoint = tmp_path / "run" / "iter_18.pth"
    build_runner(tiny_config, checkpoint=checkpoint, work_dir=tmp_path / "eval", device="cpu").test()
    assert (tmp_path / "eval" / "scores.json").is_file()
    for taken in ("run", "eval"):
        with pytest.raises(ConfigError, match=f"--work-dir .*{taken}: holds the"):
            build_runner(tiny_config, checkpoint=checkpoint, work_dir=tmp_path / taken, device="cpu")


def test_a_second_training_in_a_folder_is_refused_while_the_first_runs(tiny_config, tmp_path):
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    refusals = []
    original = runner.model.train_step

    def step_beside_others(*args, **kwargs):
        if runner.iter == 7:
            for resume in (True, False):
                with pytest.raises(RunFolderError, match=f"in use by process {os.getpid()} on "):
                    build_runner(tiny_config, work_dir=tmp_path, device="cpu", resume=resume)
                refusals.append(resume)
            build_runner(tiny_config, checkpoint=tmp_path / "iter_6.pth", device="cpu").test()
        return original(*args, **kwargs)

    runner.model.train_step = step_beside_others
    runner.train()
    assert refusals == [True, False]
    assert checkpoint_files(tmp_path)[0].name == "iter_18.pth"
    assert train(tiny_config, tmp_path, resume=True).iter == 18, "the folder is free again"


def test_a_run_that_could_not_be_built_leaves_no_folder(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_config["train_dataloader"]["sampler"]["classes_per_batch"] = 99
    with pytest.raises(ConfigError, match="classes_per_batch"):
        build_runner(tiny_config, device="cpu")
    assert not (tmp_path / "runs" / "triplet_image_folder").exists()


def test_a_run_without_scores_of_its_own_says_where_its_evaluations_are(tiny_config, tmp_path):
    tiny_config["train_cfg"]["val_interval"] = 0
    train(tiny_config, tmp_path / "run")
    with pytest.raises(ComparisonError, match=r"has no scores.json.*metricforge test CONFIG CHECKPOINT"):
        read_run(tmp_path / "run")
    scores = build_runner(tiny_config, checkpoint=tmp_path / "run" / "iter_18.pth", device="cpu").test()
    with pytest.raises(ComparisonError, match=r"has no scores.json .*evaluations are .*evaluations/iter_18-1"):
        read_run(tmp_path / "run")
    assert read_run(tmp_path / "run" / "evaluations" / "iter_18-1").scores == scores


def test_a_checkpoint_that_training_removes_while_it_is_tested_is_scored_and_named(tiny_config, tmp_path):
    train(tiny_config, tmp_path)
    checkpoint = tmp_path / "iter_18.pth"
    digest = file_hash(checkpoint)
    runner = build_runner(tiny_config, checkpoint=checkpoint, device="cpu")
    checkpoint.unlink()
    runner.test()
    written = json.loads((tmp_path / "evaluations" / "iter_18-1" / "scores.json").read_text())
    assert written["protocol"]["checkpoint"] == {"file": "iter_18.pth", "sha256": digest}
