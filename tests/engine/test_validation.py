"""Training with validation classes: what chooses the weights, and how often the test is looked at."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch

from metricforge import EVALUATORS, Evaluator, build_runner, load_model
from metricforge.engine.records import checkpoint_writer
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError, ConfigError, DatasetError
from metricforge.run_records.history import read_history
from tests.cut_training import cut_after


@pytest.fixture
def config(tiny_config, folder_of_24_classes):
    tiny_config |= dict(data_root=str(folder_of_24_classes), validation=0.25)
    tiny_config["train_cfg"] = dict(max_epochs=4, log_interval=2)
    tiny_config["optim_wrapper"] = dict(optimizer=dict(type="SGD", lr=0.5))
    return tiny_config


def train(config, folder, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    runner.train()
    return runner


def protocol(folder):
    return json.loads((folder / "scores.json").read_text())["protocol"]


def steer(runner, by_epoch):
    """Has validations find the recalls ``by_epoch``, and the test what it finds."""
    original, recalls = runner.val_loop.score, iter(by_epoch)

    def steered(*args, **kwargs):
        scores, *rest = original(*args, **kwargs)
        return scores | {"recall@1": next(recalls)}, *rest

    runner.val_loop.score = steered


def test_the_test_is_scored_once_by_the_weights_of_the_best_validation(config, tmp_path):
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    steer(runner, [0.2, 0.7, 0.7, 0.1])
    runner.train()
    choice = protocol(tmp_path)["choice"]
    assert choice == {
        "weights": "best epoch",
        "by": "validation classes",
        "score": "recall@1",
        "value": 0.7,
        "among": 4,
        "classes": 3,
        "images": 12,
        "trained_epochs": 4,
        "test_looks": 1,
    }
    assert protocol(tmp_path)["epoch"] == 2, "the earlier of equals"
    assert protocol(tmp_path)["checkpoint"]["file"] == "best.pth"
    chosen = load_checkpoint(tmp_path / "best.pth")["state_dict"]
    torch.testing.assert_close(dict(runner.model.state_dict()), dict(chosen), rtol=0, atol=0)
    assert [line["of"] for line in read_history(tmp_path) if "scores" in line] == [
        *["validation classes"] * 4,
        "test classes",
    ]


@pytest.mark.parametrize(("refused", "chosen"), [({2}, 3), ({2, 3, 4}, 1), ({1, 2, 3, 4}, 4)])
def test_the_best_weights_are_those_on_a_disk_that_was_full_at_times(config, tmp_path, monkeypatch, refused, chosen):
    save = checkpoint_writer.save_checkpoint

    def refuse(checkpoint, path):
        if path.name == "best.pth" and checkpoint["meta"]["epoch"] in refused:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(checkpoint, path)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", refuse)
    config["checkpoint"] = dict(on_error="warn")
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    steer(runner, [0.3, 0.9, 0.5, 0.4])
    runner.train()
    assert protocol(tmp_path)["epoch"] == chosen
    choice = protocol(tmp_path)["choice"]
    assert choice.get("value") == {3: 0.5, 1: 0.3, 4: None}[chosen]
    assert choice.get("reason") == (None if chosen < 4 else "the disk did not take best.pth")


def test_a_run_that_is_killed_before_its_first_interval_goes_on_where_it_has_best_weights(config, tmp_path):
    config["checkpoint"] = dict(interval=4)
    whole = train(config, tmp_path / "whole")
    cut_after(build_runner(config, work_dir=tmp_path / "cut", device="cpu", resume="auto"), 20)
    again = build_runner(config, work_dir=tmp_path / "cut", device="cpu", resume="auto")
    again.train()
    assert protocol(tmp_path / "cut")["choice"] == protocol(tmp_path / "whole")["choice"]
    torch.testing.assert_close(dict(again.model.state_dict()), dict(whole.model.state_dict()), rtol=0, atol=0)


def test_validation_classes_are_neither_trained_nor_tested(config, tmp_path):
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    sets = [runner.train_dataloader.dataset.dataset, runner.val_dataloader.dataset, runner.test_dataloader.dataset]
    names = [set(dataset.class_names) for dataset in sets]
    assert [len(one) for one in names] == [9, 3, 12]
    assert len(set.union(*names)) == 24
    assert runner.num_classes == 9
    assert sets[1].transform == sets[2].transform
    assert [len(dataset) for dataset in sets] == [36, 12, 48]


def test_a_later_test_says_how_its_weights_were_chosen_and_counts_the_look(config, tmp_path):
    first = train(config, tmp_path / "run")
    chosen = protocol(tmp_path / "run")["choice"]
    tested = build_runner(config, checkpoint=tmp_path / "run" / "best.pth", work_dir=tmp_path / "t", device="cpu")
    assert tested.test() == first.last_scores
    again = protocol(tmp_path / "t")["choice"]
    assert again["test_looks"] == 2
    assert (again["weights"], again["by"], again["value"]) == ("best epoch", "validation classes", chosen["value"])
    build_runner(config, checkpoint=tmp_path / "run" / "iter_36.pth", work_dir=tmp_path / "l", device="cpu").test()
    assert protocol(tmp_path / "l")["choice"]["weights"] == "last epoch"
    build_runner(config, checkpoint=tmp_path / "run" / "iter_27.pth", work_dir=tmp_path / "h", device="cpu").test()
    assert protocol(tmp_path / "h")["choice"]["weights"] == "epoch 3, by hand"


@pytest.mark.parametrize("updates", [9, 16, 20, 31])
def test_a_resumed_run_chooses_what_an_uninterrupted_one_does(config, tmp_path, updates):
    config["checkpoint"] = dict(interval_iterations=5)
    train(config, tmp_path / "whole")
    runner = build_runner(config, work_dir=tmp_path / "cut", device="cpu")
    cut_after(runner, updates)
    resumed = train(config, tmp_path / "cut", resume=True)
    assert protocol(tmp_path / "cut")["choice"] == protocol(tmp_path / "whole")["choice"]
    scores = [json.loads((tmp_path / name / "scores.json").read_text())["scores"] for name in ("whole", "cut")]
    assert scores[0] == scores[1] == resumed.last_scores
    best = [load_checkpoint(tmp_path / name / "best.pth") for name in ("whole", "cut")]
    torch.testing.assert_close(best[0]["state_dict"], best[1]["state_dict"], rtol=0, atol=0)
    assert best[0]["meta"]["choice"] == best[1]["meta"]["choice"]


def test_a_resume_without_the_best_weights_chooses_from_there_on_and_says_so(config, tmp_path, capsys):
    train(config, tmp_path)
    (tmp_path / "best.pth").unlink()
    config["train_cfg"]["max_epochs"] = 5
    train(config, tmp_path, resume=True)
    assert "the best weights so far are not there" in capsys.readouterr().out
    assert protocol(tmp_path)["choice"]["among"] == 2  # the fourth, which a resume validates again, and the fifth
    assert protocol(tmp_path)["choice"]["test_looks"] == 2


def test_best_weights_that_are_not_the_chosen_ones_are_refused(config, tmp_path):
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    steer(runner, [0.9, 0.1, 0.1, 0.1])
    last = runner.take_chosen_weights

    def swapped():
        (tmp_path / "iter_36.pth").replace(tmp_path / "best.pth")
        last()

    runner.take_chosen_weights = swapped
    with pytest.raises(CheckpointError, match="those after 9 were chosen"):
        runner.train()


def test_too_few_classes_leave_the_last_epoch_and_it_is_said(tiny_config, tmp_path, capsys):
    tiny_config["validation"] = 0.1
    tiny_config["checkpoint"] = dict(save_best="recall@1")
    runner = build_runner(tiny_config, work_dir=tmp_path, device="cpu")
    runner.describe()
    runner.train()
    reason = "4 training classes, fewer than 10, leave none to set aside"
    assert capsys.readouterr().out.count(reason) == 2
    choice = protocol(tmp_path)["choice"]
    assert choice == {"weights": "last epoch", "by": None, "reason": reason, "trained_epochs": 3, "test_looks": 1}


def test_without_validation_the_test_is_looked_at_once_by_the_last_epoch(config, tmp_path):
    config["validation"] = None
    train(config, tmp_path)
    assert protocol(tmp_path)["choice"] == {
        "weights": "last epoch",
        "by": None,
        "trained_epochs": 4,
        "test_looks": 1,
    }
    assert protocol(tmp_path)["epoch"] == 4


def test_choosing_on_the_test_classes_is_said_with_every_look(config, tmp_path, capsys):
    config["validation"] = "test"
    train(config, tmp_path)
    choice = protocol(tmp_path)["choice"]
    assert (choice["by"], choice["among"], choice["test_looks"]) == ("test classes", 4, 5)
    assert "on 12 TEST classes" in capsys.readouterr().out


def test_early_stopping_reads_validation_and_then_all_evaluators_score_the_test(config, tmp_path):
    config["custom_hooks"] = [dict(type="EarlyStoppingHook", monitor="recall@1", rule="greater", patience=1)]
    config["final_evaluators"] = [dict(type="RPrecision")]
    config["checkpoint"] = dict(interval=10)
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    steer(runner, [0.5, 0.4, 0.3, 0.2])
    runner.train()
    written = json.loads((tmp_path / "scores.json").read_text())
    assert "r_precision" in written["scores"]
    assert (written["protocol"]["epoch"], written["protocol"]["choice"]["trained_epochs"]) == (1, 2)
    assert (tmp_path / "iter_18.pth").exists(), "the last weights, though no interval was due"


def test_values_of_k_beyond_the_validation_images_are_left_out_of_validation_alone(config, tmp_path, capsys):
    config["evaluators"] = [dict(type="RecallAtK", ks=[1, 20])]
    runner = train(config, tmp_path)
    assert "validation leaves out RecallAtK of 20: a query can find 11 images" in capsys.readouterr().out
    assert set(runner.last_scores) == {"recall@1", "recall@20"}


def test_an_evaluator_that_cannot_score_the_validation_images_is_refused_before_training(config, tmp_path, monkeypatch):
    class ReadsTwenty(Evaluator):
        def neighbours_needed(self, context):
            return 20

        def evaluate(self, context):
            return {"twenty": float(len(context.neighbours(20)))}

    monkeypatch.setitem(EVALUATORS.module_dict, "ReadsTwenty", ReadsTwenty)
    config["evaluators"] += [dict(type="ReadsTwenty")]
    with pytest.raises(ConfigError, match=r"on the val images: ReadsTwenty reads 20 neighbours .* can find 11 images"):
        build_runner(config, work_dir=tmp_path, device="cpu")


def test_values_of_k_beyond_the_test_images_are_refused_before_training(config, tmp_path):
    config["final_evaluators"] = [dict(type="RecallAtK", ks=[48])]
    with pytest.raises(ConfigError, match="ks of RecallAtK must be at most 47"):
        build_runner(config, work_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(validation=None, checkpoint=dict(save_best="recall@1")),
            r"save_best: 'recall@1' .*validation=0.1",
        ),
        (
            dict(validation=None, custom_hooks=[dict(type="EarlyStoppingHook", monitor="recall@1")]),
            r"custom_hooks\[0\].monitor: 'recall@1' needs a validation",
        ),
        (
            dict(validation=None, custom_hooks=[dict(type="EarlyStoppingHook")]),  # by its default
            r"custom_hooks\[0\].monitor: 'recall@1' needs a validation",
        ),
        (dict(validation=0.25, train_cfg=dict(max_epochs=1, val_interval=0)), r"train_cfg.val_interval: 0 never"),
        (dict(validation=1.5), "validation: 1.5 must be a share"),
        (dict(validation=True), "validation: True must be a share"),
        (dict(validation="vla"), "validation: 'vla' must be a share"),
        (dict(validation=dict(folds=3)), "fold in 0..folds-1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_before_training(config, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_runner(config | changes, work_dir=tmp_path, device="cpu")


def test_more_folds_than_classes_are_refused_at_once(config, tmp_path):
    with pytest.raises(DatasetError, match=r"sets 0 of the 12 training classes .* aside"):
        build_runner(config | dict(validation=dict(folds=10**12, fold=0)), work_dir=tmp_path, device="cpu")


def test_the_weights_of_the_best_epoch_are_calibrated_on_the_validation_classes(
    config, folder_of_24_classes, tmp_path, capsys
):
    for number, folder in enumerate(sorted(folder_of_24_classes.iterdir())):
        for half in range(2):  # 48 classes of two
            target = tmp_path / "photos" / f"class_{number:02}_{half}"
            target.mkdir(parents=True)
            for image in (2 * half, 2 * half + 1):
                shutil.copy(folder / f"{image}.png", target)
    config |= dict(data_root=str(tmp_path / "photos"), validation=0.5)
    runner = train(config, tmp_path / "run")
    model = load_model(tmp_path / "run", device="cpu")
    found = model.calibration
    assert (found.classes, found.queries, found.gallery) == (12, 24, 24)
    validation = runner._val_dataloader.dataset
    rows = model.embed([validation.root / file for file in validation.files]).astype(np.float64)
    distances = np.linalg.norm(rows[:, None] - rows, axis=2)
    same = validation.labels[:, None] == validation.labels
    impostors = np.where(same, -np.inf, -distances).max(axis=1)
    assert found.rate == 0, "one of 24 would be more than a hundredth"
    assert found.threshold == pytest.approx(impostors.max(), abs=1e-5)
    assert load_model(model.save(tmp_path / "bundle"), device="cpu").calibration == found
    assert "unknown  similarities below" in capsys.readouterr().out


def test_too_few_validation_classes_calibrate_nothing(config, tmp_path):
    train(config, tmp_path / "run")
    assert load_model(tmp_path / "run", device="cpu").calibration is None
