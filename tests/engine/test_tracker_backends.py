"""Losses and scores in TensorBoard, Weights & Biases and MLflow: as their own readers find them."""

from __future__ import annotations

import importlib.util

import pytest

from metricforge import build_runner
from metricforge.config_check import check_config
from metricforge.engine.tracker_backends import PACKAGES, DatabaseMLflowBackend
from metricforge.run_records.history import read_history


def with_backend(config, name, **arguments):
    return config | dict(visualizer=dict(type="Visualizer", vis_backends=[dict(type=name, **arguments)]))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_installed_is_named_with_its_command_before_training(name, tiny_config, monkeypatch):
    module, install = PACKAGES[name]
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "metricforge.engine.tracker_backends.find_spec", lambda asked: None if asked == module else found(asked)
    )
    (fault,) = check_config(with_backend(tiny_config, name))
    assert fault == (
        f"visualizer.vis_backends[0]: {name} needs the package {module}, which is not installed; pip install {install}"
    )
    assert check_config(with_backend(tiny_config, name), train=False) == [], "a test writes nothing there"


def test_a_misspelt_back_end_is_named_before_training(tiny_config):
    (fault,) = check_config(with_backend(tiny_config, "TensorBoardVisBackend"))
    assert 'visualizer.vis_backends[0].type: "TensorBoardVisBackend"' in fault
    assert 'did you mean "TensorboardVisBackend"' in fault


def wanted_losses(run) -> dict[int, float]:
    return {line["iteration"]: line["losses"]["loss"] for line in read_history(run) if "losses" in line}


def train(config, folder) -> float:
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    return runner.last_scores["recall@1"]


def test_tensorboard_has_the_losses_and_scores_of_the_history(tiny_config, tmp_path):
    pytest.importorskip("tensorboard", reason='needs pip install "metricforge[tensorboard]"')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recall = train(with_backend(tiny_config, "TensorboardVisBackend"), tmp_path)
    (events,) = tmp_path.glob("*/vis_data/events.*")
    read = EventAccumulator(str(events)).Reload()
    assert {event.step: event.value for event in read.Scalars("loss")} == pytest.approx(wanted_losses(tmp_path))
    assert [event.value for event in read.Scalars("test/recall@1")] == pytest.approx([recall])


def test_mlflow_has_the_losses_and_scores_of_the_history(tiny_config, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason='needs pip install "metricforge[mlflow]"')
    monkeypatch.chdir(tmp_path)
    recall = train(with_backend(tiny_config, "MLflowVisBackend"), tmp_path / "run")
    assert not (tmp_path / "mlruns").exists()
    (database,) = (tmp_path / "run").glob("*/vis_data/mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    experiment = client.get_experiment_by_name("metricforge")
    assert experiment.artifact_location == (database.parent / "mlartifacts").as_uri()
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert {one.step: one.value for one in client.get_metric_history(run.info.run_id, "loss")} == pytest.approx(
        wanted_losses(tmp_path / "run")
    )
    assert run.data.metrics["test/recall_at_1"] == pytest.approx(recall)
    assert run.data.params["model.loss.type"] == "TripletLoss"


@pytest.mark.parametrize(
    ("given", "name", "location"),
    [
        ({}, "metricforge", "{folder}/mlartifacts"),
        ({"exp_name": "birds"}, "birds", "{folder}/mlartifacts"),
        ({"artifact_location": "s3://bucket"}, "metricforge", "s3://bucket"),
        ({"tracking_uri": "http://server"}, None, None),  # the server knows
    ],
)
def test_what_mlflow_keeps_beside_scores_stays_in_the_run_s_folder(tmp_path, given, name, location):
    backend = DatabaseMLflowBackend(str(tmp_path), **given)
    assert backend._exp_name == name
    assert backend._artifact_location == (location and location.format(folder=tmp_path.as_uri()))


def test_two_runs_of_one_process_are_two_of_weights_and_biases(tiny_config, tmp_path):
    wandb = pytest.importorskip("wandb", reason='needs pip install "metricforge[wandb]"')
    for name in ("first", "second"):
        cfg = with_backend(tiny_config, "WandbVisBackend", init_kwargs=dict(mode="offline", project="tests"))
        train(cfg, tmp_path / name)
        assert wandb.run is None
        assert len(list((tmp_path / name).glob("*/vis_data/wandb/offline-run-*/*.wandb"))) == 1
