"""Small trainings that have an illness, each with its diagnosis, and one that has none."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge import build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.diagnosis import doctor as doctor_module
from metricforge.engine.diagnosis.bounds import Bounds
from metricforge.engine.diagnosis.doctor import Doctor, RunFacts
from metricforge.engine.hooks.doctor_hook import DoctorHook
from metricforge.errors import ConfigError
from metricforge.losses import TripletLoss
from metricforge.run_records.history import read_history
from metricforge.structures import LossOutput


def train(config, folder: Path, collapse: bool = False, **bounds):
    config["doctor"] = dict(share=1, readings=2) | bounds
    config["train_cfg"] |= dict(log_interval=2)
    runner = build_runner(config, work_dir=folder, device="cpu")
    if collapse:
        runner.model.head.dropout.p = 0.0
        with torch.no_grad():
            features = runner.model.backbone.layers[-1]
            features.weight.mul_(1e-4)
            features.bias.fill_(1.0)
    runner.train()
    return runner


def diagnoses(folder: Path) -> dict[str, str]:
    return {
        line["diagnosis"]["kind"]: line["diagnosis"]["text"] for line in read_history(folder) if "diagnosis" in line
    }


def test_a_training_that_goes_well_is_measured_and_nothing_is_said(tiny_config, tmp_path):
    tiny_config["model"]["loss"]["margin"] = 2.0  # there is always something to learn
    train(tiny_config, tmp_path)
    assert diagnoses(tmp_path) == {}
    read = [line["diagnostics"] for line in read_history(tmp_path) if "diagnostics" in line]
    assert len(read) == 9, "18 updates, the losses read at every second"
    for values in read:
        assert set(values) == {
            "gradient_norm", "weight_change", "active", "batch_recall@1", "spread", "effective_rank", "waiting",
        }  # fmt: skip
        assert all(0 <= values[name] <= 1 for name in ("active", "batch_recall@1", "spread", "waiting"))
        assert values["gradient_norm"] > 0
        assert 0 < values["weight_change"] < 0.1


@pytest.mark.filterwarnings("ignore::metricforge.evaluation.embedding_spread.CollapsedEmbeddingsWarning")
def test_a_collapse_is_said_once_in_words_with_the_loss_at_its_margin_and_a_rate_that_moves_nothing(
    tiny_config, tmp_path, capsys
):
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e-9
    train(tiny_config, tmp_path, collapse=True)
    said = diagnoses(tmp_path)
    assert said.keys() >= {"collapse", "margin", "rate"}
    assert "nearly all the same" in said["collapse"]
    assert "stuck at 0.5, its margin" in said["margin"]
    assert "optimizer.lr (now 1e-09)" in said["rate"]
    printed = capsys.readouterr().out
    logged = next(tmp_path.glob("*/*.log")).read_text()
    for text in said.values():
        assert printed.count(text) == 1
        assert logged.count(text) == 1
    assert "WARNING" in next(line for line in logged.splitlines() if said["margin"] in line)


def test_a_loss_that_sends_no_gradient_is_said(tiny_config, tmp_path, monkeypatch):
    # all of its hinges are zero, as where everything is apart by the margin
    monkeypatch.setattr(TripletLoss, "forward", lambda loss, embeddings, *given: LossOutput((embeddings * 0).sum()))
    monkeypatch.setattr(TripletLoss, "can_compare", lambda *given: True)
    train(tiny_config, tmp_path)
    assert set(diagnoses(tmp_path)) == {"inactive", "rate"}


def test_classes_that_no_batch_draws_leave_their_proxies_alone(tiny_config, tmp_path):
    tiny_config["model"] |= dict(loss=dict(type="ProxyAnchorLoss"), miner=None)
    sampler = tiny_config["train_dataloader"]["sampler"]
    sampler |= dict(batches_per_epoch=1)
    tiny_config["train_cfg"]["max_epochs"] = 1
    train(tiny_config, tmp_path / "two of four")
    assert "2 of 4 classes had no image" in diagnoses(tmp_path / "two of four")["proxies"]
    sampler["batches_per_epoch"] = 2
    train(tiny_config, tmp_path / "all")
    assert "proxies" not in diagnoses(tmp_path / "all")


def test_a_model_worse_than_a_baseline_is_said_at_the_end(tiny_config, tmp_path):
    tiny_config["baselines"] = {"raw pixels": dict(backbone=dict(type="RawPixels", height=16, width=16))}
    tiny_config["model"]["head"]["dim"] = 1  # of length one: there are two embeddings
    runner = train(tiny_config, tmp_path)
    baseline, trained = runner.baseline_scores["raw pixels"]["recall@1"], runner.last_scores["recall@1"]
    assert trained < baseline
    assert f"recall@1 is {trained:.3f} on the test classes, and {baseline:.3f} for" in diagnoses(tmp_path)["untrained"]


def test_the_untrained_feature_is_scored_on_the_validation_classes(tiny_config, folder_of_24_classes, tmp_path):
    del tiny_config["train_dataloader"]["dataset"]["root"], tiny_config["test_dataloader"]["dataset"]["root"]
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.25)
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e-9
    train(tiny_config, tmp_path)
    first = read_history(tmp_path)[0]
    assert first["iteration"] == 0
    assert set(first["untrained feature"]) == {"recall@1", "recall@2"}
    gaps = [line["diagnostics"] for line in read_history(tmp_path) if "batch_recall@1 of training" in str(line)]
    assert len(gaps) == 3, "one a validation"


def test_swapped_labels_are_found(tmp_path, tiny_config):
    rng = np.random.default_rng(0)
    for number in range(8):
        (tmp_path / f"images/class_{number}").mkdir(parents=True)
        for image in range(10):
            # an image of the first class lies in the second, and the other way round
            of = 1 - number if number < 2 and image < 1 else number
            colour = np.array([30 + 190 * (of & 1), 30 + 190 * (of >> 1 & 1), 30 + 190 * (of >> 2)])
            pixels = np.clip(colour + rng.normal(0, 3, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"images/class_{number}/{image}.png")
    for part in ("train_dataloader", "test_dataloader"):
        tiny_config[part]["dataset"] |= dict(root=str(tmp_path / "images"), transform=[])
    tiny_config["train_dataloader"]["sampler"] |= dict(classes_per_batch=4, samples_per_class=5)
    tiny_config["train_cfg"] |= dict(max_epochs=14)
    tiny_config["model"]["head"]["dropout"] = 0.0
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e-6
    tiny_config["model"]["backbone"] = dict(type="RawPixels", height=16, width=16)
    train(tiny_config, tmp_path / "run", movement=None, doubtful=0.03)  # one of the 40 is not enough
    lines = [line["diagnosis"] for line in read_history(tmp_path / "run") if "diagnosis" in line]
    (told,) = [one for one in lines if one["kind"] == "labels"]
    swapped = {"class_0/0.png", "class_1/0.png"}
    assert {"/".join(Path(image).parts[-2:]) for image in told["images"]} == swapped


@pytest.mark.parametrize(
    ("epochs", "named"),
    [
        ([[4], [4, 5, 6], [4, 5], []], (4, 5, 6)),  # from the third epoch on they are learned by heart
        ([[4], [4, 5]], (4, 5)),  # training ends before
        ([[], []], None),
    ],
)
def test_the_images_whose_labels_looked_wrong_when_most_did_are_named_once(epochs, named):
    said = []
    loader = MagicMock()
    loader.__len__.return_value = 7
    loader.dataset.__len__.return_value = 100
    loader.dataset.dataset.location = lambda index: index
    runner = SimpleNamespace(
        iter=7,
        train_dataloader=loader,
        warn=lambda text: None,
        history=SimpleNamespace(add_diagnosis=lambda iteration, epoch, kind, text, images: said.append(images)),
    )
    hook = DoctorHook(Bounds())
    facts = RunFacts(updates=40, epochs=4, dimensions=8, batch=10, workers=0, rate="0.1", resting={})
    hook._doctor = Doctor(hook.bounds, facts)
    for doubtful in epochs:
        hook._labels = SimpleNamespace(doubtful=lambda now=doubtful: (np.array(now, dtype=np.int64), 100))
        hook.after_train_epoch(runner)
    hook.after_train(runner)
    assert said == ([] if named is None else [named])


def test_a_loader_that_keeps_the_device_waiting_is_said(tiny_config, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_module, "FEWEST_SECONDS", 0.2)
    load = ImageFolderDataset.__getitem__

    def dawdle(dataset, index):
        time.sleep(0.02)
        return load(dataset, index)

    monkeypatch.setattr(ImageFolderDataset, "__getitem__", dawdle)
    tiny_config["model"]["loss"]["margin"] = 2.0
    tiny_config["doctor"] = {"waiting": 0.05}  # on a busy machine the updates take long as well
    train(tiny_config, tmp_path)
    said = diagnoses(tmp_path)
    assert set(said) == {"loader"}
    assert "num_workers (now 0)" in said["loader"]


def test_the_doctor_changes_no_weight_and_goes_when_he_is_not_wanted(tiny_config, tmp_path):
    with_it = train(dict(tiny_config), tmp_path / "with").model.state_dict()
    tiny_config["doctor"] = None
    runner = build_runner(tiny_config, work_dir=tmp_path / "without", device="cpu")
    runner.train()
    without = runner.model.state_dict()
    assert all(torch.equal(with_it[name], weight) for name, weight in without.items())
    assert not [line for line in read_history(tmp_path / "without") if "diagnostics" in line or "diagnosis" in line]


def test_how_a_run_ended_stands_in_its_history(tiny_config, tmp_path):
    train(tiny_config, tmp_path / "well")
    assert read_history(tmp_path / "well")[-1]["ended"] == {"how": "finished", "why": ""}
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1e30
    with pytest.raises(Exception, match="loss became"):
        train(tiny_config, tmp_path / "ill")
    end = read_history(tmp_path / "ill")[-1]["ended"]
    assert end["how"] == "failed"
    assert "the loss became" in end["why"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(spred=0.1), 'doctor.spred: there is no such key; did you mean "spread"?'),
        (dict(active=2), "doctor: active must be a number in 0..1"),
        (dict(gap=0.2), "doctor.gap: 0.2 needs validation classes, and there are none"),
        ([], "doctor: \\[\\] must be a dict"),
    ],
)
def test_bounds_that_cannot_take_effect_are_faults_of_the_config(tiny_config, given, says, tmp_path):
    tiny_config["doctor"] = given
    with pytest.raises(ConfigError, match=says):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")
