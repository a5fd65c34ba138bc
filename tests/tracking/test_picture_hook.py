"""A tracker gets a report's pictures while a run trains."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from mmengine.registry import VISBACKENDS
from mmengine.visualization import LocalVisBackend

from metricforge import build_runner
from metricforge.config_check import check_config
from metricforge.engine import tracker_backends

TRACKER = dict(type="Visualizer", vis_backends=[dict(type="ShelfVisBackend")])


@VISBACKENDS.register_module()
class ShelfVisBackend(LocalVisBackend):
    """Keeps what it is given."""

    pictures: ClassVar[dict[str, tuple[int, np.ndarray]]] = {}

    def add_image(self, name, image, step=0, **kwargs):
        self.pictures[name] = (step, image)


@pytest.fixture
def shelf(monkeypatch):
    monkeypatch.setitem(tracker_backends.PACKAGES, "ShelfVisBackend", ("json", "python"))
    ShelfVisBackend.pictures = {}
    return ShelfVisBackend


def train(config, folder, tracker=TRACKER, **arguments):
    hooks = [dict(type="PictureHook", **arguments)]
    runner = build_runner(config | dict(visualizer=tracker, custom_hooks=hooks), work_dir=folder, device="cpu")
    runner.train()


@pytest.mark.slow
def test_validations_and_the_test_hand_their_pictures_over(tiny_config, folder_of_24_classes, tmp_path, shelf):
    del tiny_config["train_dataloader"]["dataset"]["root"], tiny_config["test_dataloader"]["dataset"]["root"]
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.25)
    train(tiny_config, tmp_path, interval=2, maps="none")
    of_validation = {name: step for name, (step, _) in shelf.pictures.items() if name.startswith("validation/")}
    assert set(of_validation) == {"validation/neighbours", "validation/distributions", "validation/roc"}
    assert len(set(of_validation.values())) == 1, "of the second of three validations alone"
    of_test = {name.removeprefix("test/") for name in shelf.pictures if name.startswith("test/")}
    assert of_test >= {"neighbours", "training_0", "recall_at_k", "distributions", "roc", "classes"}
    for _, image in shelf.pictures.values():
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
        assert image.std() > 1, "something is drawn"


def test_pictures_for_nobody_or_without_what_draws_them_are_faults(tiny_config, shelf, monkeypatch):
    hooks = dict(custom_hooks=[dict(type="PictureHook")])
    (fault,) = check_config(tiny_config | hooks)
    assert "custom_hooks[0]: PictureHook draws for the back-ends of visualizer.vis_backends, and there is none" in fault
    assert check_config(tiny_config | hooks | dict(visualizer=TRACKER)) == []
    found = tracker_backends.find_spec
    monkeypatch.setattr(tracker_backends, "find_spec", lambda name: None if name == "jinja2" else found(name))
    (fault,) = check_config(tiny_config | hooks | dict(visualizer=TRACKER))
    assert 'needs jinja2, which are not installed; pip install "metricforge[report]"' in fault


@pytest.mark.parametrize(
    ("given", "says"), [(dict(interval=-1), "interval must be"), (dict(maps="pca"), "maps: 'pca' must be")]
)
def test_other_values_are_faults_of_the_config(tiny_config, shelf, given, says):
    hooks = dict(custom_hooks=[dict(type="PictureHook", **given)])
    with pytest.raises(ValueError, match=says):
        build_runner(tiny_config | hooks | dict(visualizer=TRACKER), device="cpu")


def test_weights_and_biases_gets_a_picture_with_its_iteration_and_mlflow_a_file_name(tmp_path, monkeypatch):
    logged = []
    wandb = ModuleType("wandb")
    wandb.init = lambda **given: wandb
    wandb.define_metric = lambda *given, **more: None
    wandb.log = logged.append
    wandb.Image = lambda image: ("picture", image.shape)
    wandb.run = wandb
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    tracker_backends.IterationWandbBackend(save_dir=str(tmp_path)).add_image("test/roc", image, step=7)
    assert logged == [{"test/roc": ("picture", (4, 6, 3)), "iteration": 7}]

    backend = tracker_backends.DatabaseMLflowBackend(save_dir=str(tmp_path))
    backend._env_initialized = True
    backend._mlflow = ModuleType("mlflow")
    backend._mlflow.log_image = lambda image, name: logged.append((name, image.shape))
    backend.add_image("test/roc", image, step=7)
    assert logged[-1] == ("test/roc_7.png", (4, 6, 3))


def names_in_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = folder.glob("*/vis_data/events.*")
    return EventAccumulator(str(events)).Reload().Tags()["images"]


def names_in_weights_and_biases(folder):
    pictures = folder.glob("*/vis_data/wandb/offline-run-*/files/media/images/test/*.png")
    return [f"test/{picture.name.rpartition('_')[0].rpartition('_')[0]}" for picture in pictures]


def names_in_mlflow(folder):
    pictures = folder.glob("*/vis_data/mlartifacts/*/artifacts/test/*.png")
    return [f"test/{picture.stem.rpartition('_')[0]}" for picture in pictures]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "backend", "names_in"),
    [
        ("tensorboard", dict(type="TensorboardVisBackend"), names_in_tensorboard),
        (
            "wandb",
            dict(type="WandbVisBackend", init_kwargs=dict(mode="offline", project="tests")),
            names_in_weights_and_biases,
        ),
        ("mlflow", dict(type="MLflowVisBackend"), names_in_mlflow),
    ],
    ids=["tensorboard", "wandb", "mlflow"],
)
def test_pictures_arrive_in_the_tracker_itself(package, backend, names_in, tiny_config, tmp_path):
    pytest.importorskip(package, reason=f'needs pip install "metricforge[{package}]"')
    train(tiny_config, tmp_path, dict(type="Visualizer", vis_backends=[backend]), maps="none")
    assert set(names_in(tmp_path)) >= {"test/neighbours", "test/recall_at_k", "test/roc", "test/distributions"}
