"""``metricforge reproduce`` as a person types it, on tables of runs that take a second."""

from __future__ import annotations

import json

import pytest
import torch

from metricforge.backbones import BNInception
from metricforge.cli.main import main
from metricforge.engine.loops.train_loop import ResumableTrainLoop
from metricforge.errors import TrainingStopped


@pytest.fixture
def tables(tiny_config, tmp_path):
    """A table whose paper printed 50 and 60 for two margins."""
    config = tmp_path / "tiny.py"
    config.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    demo = dict(
        title="Margins",
        source="A paper, Table 9",
        config="tiny.py",
        scores=["recall@1"],
        rows=[
            dict(name="margin 0.1", options={"model.loss.margin": 0.1}, paper=[50.0]),
            dict(name="margin 0.5", paper=[60.0], note="as they like it"),
        ],
        reduced=dict(config=dict(glyphs="tiny.py", folder="tiny.py")),
    )
    path = tmp_path / "tables.yaml"
    path.write_text(f"tables: {dict(demo=demo)!r}\n")
    return path


@pytest.fixture
def run(tables, tmp_path, capsys):
    def run(*arguments) -> tuple[int, str]:
        words = ["reproduce", *arguments, "--tables", tables, "--work-dir", tmp_path / "runs", "--device", "cpu"]
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def scores_files(tmp_path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in (tmp_path / "runs").glob("*/scores.json")}


def test_every_row_is_run_and_compared_with_the_paper_s(run, tmp_path):
    status, out = run("demo")
    assert status == 0
    files = scores_files(tmp_path)
    assert set(files) == {"tiny", "tiny,loss.margin=0.1"}
    for name, paper in (("tiny", 60), ("tiny,loss.margin=0.1", 50)):
        ours = 100 * json.loads(files[name])["scores"]["recall@1"]
        assert f"{ours:.1f}" in out
        assert f"{ours - paper:+.1f}" in out
    assert "margin 0.5 [1]" in out
    assert "[1] as they like it" in out


@pytest.mark.parametrize("part", ["core", "plug-in"])
def test_a_finished_row_is_not_run_again(run, tmp_path, monkeypatch, part):
    config = tmp_path / "tiny.py"
    if part == "plug-in":
        text = config.read_text().replace("RandomTripletMiner", "LiftedStructureMiner")
        config.write_text(text.replace("TripletLoss", "LiftedStructureLoss"))
    run("demo")
    before = scores_files(tmp_path)
    monkeypatch.setattr(ResumableTrainLoop, "run", lambda self: pytest.fail("trained again"))
    status, out = run("demo")
    assert status == 0
    assert "paper: A paper, Table 9" in out
    assert scores_files(tmp_path) == before


def test_a_row_that_ended_early_as_its_config_says_is_finished(run, tmp_path, monkeypatch):
    budget = ("--cfg-options", "train_cfg.max_minutes=0.00001")
    status, out = run("demo", *budget)
    assert status == 0, out
    before = scores_files(tmp_path)
    assert [json.loads(content)["protocol"]["choice"]["trained_epochs"] for content in before.values()] == [0, 0]
    monkeypatch.setattr(ResumableTrainLoop, "run", lambda self: pytest.fail("trained again"))
    assert run("demo", *budget)[0] == 0
    assert scores_files(tmp_path) == before


def test_a_run_without_a_test_is_not_finished_and_says_what_it_lacks(run):
    status, out = run("demo", "--cfg-options", "train_cfg.val_interval=0")
    assert status == 1
    assert "2 runs of 2 failed" in out
    assert "ended without a test; train_cfg.val_interval must not be 0" in out


@pytest.mark.parametrize(("end", "its_status"), [(KeyboardInterrupt(), 130), (TrainingStopped("SIGTERM"), 75)])
def test_an_interrupted_row_goes_on_where_it_was_and_ends_the_same(run, tmp_path, monkeypatch, end, its_status):
    run("demo")
    whole = {name: json.loads(content)["scores"] for name, content in scores_files(tmp_path).items()}
    (tmp_path / "runs").rename(tmp_path / "uninterrupted")

    validate, seen = ResumableTrainLoop._validate, []

    def interrupt_after_the_second_epoch(self):
        validate(self)
        seen.append(self.epoch)
        if seen == [1, 2]:
            raise end

    monkeypatch.setattr(ResumableTrainLoop, "_validate", interrupt_after_the_second_epoch)
    status, out = run("demo")
    assert status == its_status
    assert "the same command goes on" in out
    status, out = run("demo", "--dry-run")
    assert "margin 0.1  [started: iter_12]" in out
    assert "margin 0.5 [1]  [new]" in out
    status, out = run("demo")
    assert status == 0
    assert "resumed from iter_12.pth: epoch 3" in out
    assert {name: json.loads(content)["scores"] for name, content in scores_files(tmp_path).items()} == whole


def test_a_dry_run_says_what_would_run_and_runs_nothing(run, tmp_path):
    status, out = run("demo", "--dry-run", "--cfg-options", "train_cfg.max_epochs=1")
    assert status == 0
    assert "margin 0.1  [new]" in out
    assert "--cfg-options model.loss.margin=0.1 train_cfg.max_epochs=1" in out
    assert not (tmp_path / "runs").exists()


def test_a_row_may_be_the_untrained_model_that_a_run_compares_with(run, tables, tiny_config, tmp_path):
    config = tmp_path / "tiny.py"
    baselines = dict(untrained=dict(similarity=dict(type="CosineSimilarity")))
    config.write_text(f"{config.read_text()}\nbaselines = {baselines!r}\n")
    tables.write_text(
        tables.read_text().replace("'name': 'margin 0.1'", "'name': 'as it came', 'baseline': 'untrained'")
    )
    status, out = run("demo", "--only", "came", "--cfg-options", "train_cfg.max_epochs=1")
    assert status == 0
    ((_, content),) = scores_files(tmp_path).items()
    untrained = json.loads(content)["protocol"]["baselines"]["untrained"]["recall@1"]
    assert f"{100 * untrained - 50:+.1f}" in out
    tables.write_text(tables.read_text().replace("'baseline': 'untrained'", "'baseline': 'untraned'"))
    status, out = run("demo", "--dry-run")
    assert status == 1
    assert 'baseline untraned: there is none of this name; did you mean "untrained"?' in out


def test_weights_that_torchvision_does_not_have_are_refused_before_anything_runs(run, tables, tmp_path):
    backbone = {"type": "TorchvisionBackbone", "name": "googlenet", "weights": "IMAGENET1K_V2"}
    tables.write_text(tables.read_text().replace("{'model.loss.margin': 0.1}", repr({"model.backbone": backbone})))
    status, out = run("demo")
    assert status == 1
    assert "no weights called 'IMAGENET1K_V2'" in out
    assert not (tmp_path / "runs").exists()
    tables.write_text(tables.read_text().replace("IMAGENET1K_V2", "IMAGENET1K_V1"))
    status, out = run("demo", "--dry-run")
    assert status == 0
    assert "margin 0.1 [1]  [new]" in out
    assert "[1] the paper's GoogLeNet is Caffe's, without BatchNorm" in out
    assert "57 BatchNorm layers" in out


def test_missing_data_stops_before_anything_runs_and_names_the_other_rows(run, tables, tmp_path):
    text = tables.read_text().replace("'model.loss.margin': 0.1", "'data_root': '/nowhere'")
    tables.write_text(text)
    status, out = run("demo")
    assert status == 1
    assert "1 data set is missing, so nothing was run" in out
    assert "needed by: margin 0.1" in out
    assert "These rows have what they need, choose them with --only: margin 0.5" in out
    assert not (tmp_path / "runs").exists()
    assert "margin 0.1  [new, data missing]" in run("demo", "--dry-run")[1]
    assert run("demo", "--only", "0.5")[0] == 0


def test_a_missing_file_of_weights_stops_before_anything_runs_and_says_where_to_get_it(run, tables, tmp_path):
    file = tmp_path / "bn_inception-52deb4733.pth"
    options = {"model.backbone.type": "BNInception", "model.backbone.weights": str(file)}
    tables.write_text(tables.read_text().replace("{'model.loss.margin': 0.1}", repr(options)))
    status, out = run("demo")
    assert status == 1
    assert "1 weights file is missing, so nothing was run" in out
    assert f"{file} does not exist" in out
    assert "pretrainedmodels" in out
    assert "needed by: margin 0.1" in out
    assert "These rows have what they need, choose them with --only: margin 0.5" in out
    assert not (tmp_path / "runs").exists()
    status, out = run("demo", "--dry-run")
    assert status == 0
    assert "margin 0.1  [new, weights missing]" in out
    assert "margin 0.5 [1]  [new]" in out
    torch.save(BNInception().state_dict(), file)
    assert "margin 0.1  [new]" in run("demo", "--dry-run")[1]
    status, out = run("demo", "--only", "0.1", "--cfg-options", "train_cfg.max_epochs=1", "model.head.dim=None")
    assert status == 0
    (scores,) = (json.loads(content) for content in scores_files(tmp_path).values())
    assert scores["scores"]["recall@1"] > 0


def test_missing_data_and_weights_are_told_together(run, tables, tmp_path):
    options = {"data_root": "/nowhere", "model.backbone.type": "BNInception", "model.backbone.weights": "none.pth"}
    tables.write_text(tables.read_text().replace("{'model.loss.margin': 0.1}", repr(options)))
    assert "1 data set and 1 weights file are missing, so nothing was run" in run("demo")[1]
    assert "margin 0.1  [new, data missing, weights missing]" in run("demo", "--dry-run")[1]


def test_a_missing_class_tree_stops_before_anything_runs_and_says_where_to_get_it(run, tables, tmp_path, monkeypatch):
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path / "nowhere"))
    options = {"final_evaluators": [{"type": "ZeroShot", "tree": "wordnet"}]}
    tables.write_text(tables.read_text().replace("{'model.loss.margin': 0.1}", repr(options)))
    status, out = run("demo")
    assert status == 1
    assert "1 class tree is missing, so nothing was run" in out
    assert "install it (Debian: wordnet-base)" in out
    assert "needed by: margin 0.1" in out
    status, out = run("demo", "--dry-run")
    assert (status, "margin 0.1  [new, class tree missing]" in out) == (0, True)
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "data.noun").write_text("")
    assert "margin 0.1  [new]" in run("demo", "--dry-run")[1]


def test_a_row_that_fails_does_not_keep_the_others_from_running(run, tables, tmp_path):
    text = tables.read_text().replace("'model.loss.margin': 0.1", "'optim_wrapper.optimizer.lr': 1e30")
    tables.write_text(text)
    status, out = run("demo")
    assert status == 1
    assert "1 run of 2 failed" in out
    assert "tiny" in scores_files(tmp_path)


def test_a_run_of_a_config_that_was_edited_since_is_not_taken_for_this_one(run, tables, tmp_path):
    run("demo")
    config = tmp_path / "tiny.py"
    config.write_text(config.read_text().replace("'dim': 8", "'dim': 9"))
    status, out = run("demo")
    assert status == 1
    assert "holds the run of another config, which differs in model" in out


def test_the_reduced_form_trains_on_the_folder_and_prints_ours_alone(run, image_folder, tmp_path):
    status, out = run("demo", "--reduced", image_folder, "--only", "0.5", "--cfg-options", "train_cfg.max_epochs=1")
    assert status == 0
    assert f"Margins, reduced, on {image_folder}" in out
    assert "difference" not in out
    assert "map@r" in out
    assert run("demo", "--reduced", tmp_path / "none")[0] == 1


def test_without_a_table_they_are_listed_and_a_misspelt_one_names_the_nearest(run):
    assert run() == (0, "demo  Margins\n")
    status, out = run("dema")
    assert status == 1
    assert 'dema: there is no such table; did you mean "demo"?' in out
