"""What a run of a pretrained network becomes: which weights and layer are chosen, and that all else knows of it."""

from __future__ import annotations

import copy
import errno
import io
import json

import numpy as np
import pytest
import timm
import torch
from rich.console import Console

from metricforge import build_runner, load_model
from metricforge.engine.records import checkpoint_writer
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError
from metricforge.testing import run_in_processes
from tests.cut_training import cut_after


def train(config, folder, **arguments):
    shown = io.StringIO()
    runner = build_runner(config, work_dir=folder, device="cpu", console=Console(file=shown, width=200), **arguments)
    runner.describe()
    runner.train()
    return runner, shown.getvalue()


@pytest.fixture(scope="module")
def runs():
    """What ``whole_run`` trained; a fixture of the module, though its config is made anew for each test."""
    return {}


@pytest.fixture
def whole_run(config, runs, tmp_path_factory):
    """The folder of a run of ``config`` as it is, its runner, and what it showed; tests only read it."""
    if not runs:
        folder = tmp_path_factory.mktemp("whole")
        runs["whole"] = (folder, *train(copy.deepcopy(config), folder))
    return runs["whole"]


def candidates(folder):
    return json.loads((folder / "readout.json").read_text())


def protocol(folder):
    return json.loads((folder / "scores.json").read_text())["protocol"]


def recall_at_1(rows, labels):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return float((labels[similar.argmax(axis=1)] == labels).mean())


def pooled(state, loader):
    """Features of timm's own network with the weights ``state``, in float64."""
    network = timm.create_model("test_efficientnet", num_classes=0).double().eval()
    network.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    mean, std = (torch.tensor(network.pretrained_cfg[key]).view(1, 3, 1, 1).double() for key in ("mean", "std"))
    batches = list(loader)
    images = torch.cat([batch["image"] for batch in batches]).double() / 255
    with torch.no_grad():
        return network((images - mean) / std).numpy(), torch.cat([batch["label"] for batch in batches]).numpy()


def backbone_of(checkpoint):
    state = checkpoint["state_dict"]
    return {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}


def whitened(known, rows, dim):
    mean = known.mean(axis=0)
    _, singular, components = np.linalg.svd(known - mean, full_matrices=False)
    return (rows - mean) @ (components[:dim] / np.sqrt(singular[:dim, None])).T


def test_candidates_score_what_a_computation_by_hand_of_their_weights_and_layers_finds(config, weights, tmp_path):
    config["checkpoint"] = dict(save_best=None)  # the last epoch's, as fine-tuned weights
    runner, _ = train(config, tmp_path)
    found = {(each["weights"], each["layer"]): each for each in candidates(tmp_path)["candidates"]}
    trained = load_checkpoint(tmp_path / "iter_18.pth")
    last, before = backbone_of(trained), backbone_of(load_checkpoint(tmp_path / "iter_9.pth"))
    network = timm.create_model("test_efficientnet", num_classes=0)
    network.load_state_dict(torch.load(weights), strict=False)
    first = {f"model.{name}": value for name, value in network.state_dict().items()}
    states = {
        "pretrained": first,
        "fine-tuned": last,
        "mean of 2 checkpoints": {name: (last[name].double() + before[name]) / 2 for name in last},
        "3/4 fine-tuned": {name: 0.75 * last[name].double() + 0.25 * first[name] for name in last},
        "1/4 fine-tuned": {name: 0.25 * last[name].double() + 0.75 * first[name] for name in last},
    }
    projection = trained["state_dict"]["head.linear.weight"].double().numpy()
    for name, state in states.items():
        known, _ = pooled(state, runner.readout.fitting)
        rows, labels = pooled(state, runner.val_dataloader)
        layers = {"pooled": rows, "whitened": whitened(known, rows, 8)}
        if name == "3/4 fine-tuned":
            layers |= {"head": rows @ projection.T}
        for layer, embedded in layers.items():
            assert found[name, layer]["scores"]["recall@1"] == pytest.approx(recall_at_1(embedded, labels)), (
                name,
                layer,
            )


def test_the_best_on_the_validation_classes_is_chosen_and_the_test_is_looked_at_once(whole_run):
    folder, runner, shown = whole_run
    table = candidates(folder)
    best = table["candidates"][table["chosen"]]
    assert best["scores"]["recall@1"] == max(each["scores"]["recall@1"] for each in table["candidates"])
    choice = protocol(folder)["choice"]
    assert (choice["weights"], choice["value"]) == (best["weights"], best["scores"]["recall@1"])
    assert (choice["by"], choice["among"], choice["test_looks"]) == ("validation classes", len(table["candidates"]), 1)
    assert protocol(folder)["checkpoint"]["file"] == "chosen.pth"
    assert set(protocol(folder)["baselines"]) == {"frozen", "adapted"} == set(runner.baseline_scores)
    assert "readout, on the validation classes" in shown
    assert "baseline frozen  recall@1" in shown
    rows, labels = pooled(runner.readout.pretrained, runner.test_dataloader)
    assert runner.baseline_scores["frozen"]["recall@1"] == pytest.approx(recall_at_1(rows, labels))


@pytest.mark.parametrize("layers", [["head"], ["pooled"], ["whitened"], ["both"], ["adapted"]])
def test_what_was_chosen_is_one_model_that_is_loaded_tested_and_saved(config, tmp_path, layers):
    config["readout"] = dict(layers=layers)
    runner, _ = train(config, tmp_path / "run")
    tested = build_runner(config, checkpoint=tmp_path / "run" / "chosen.pth", work_dir=tmp_path / "test", device="cpu")
    assert tested.test() == runner.last_scores
    assert protocol(tmp_path / "test")["choice"]["layer"] == protocol(tmp_path / "run")["choice"]["layer"]
    model = load_model(tmp_path / "run", device="cpu")
    files = [runner.test_dataloader.dataset.root / file for file in runner.test_dataloader.dataset.files[:5]]
    wanted = runner.test_loop.context.queries.embeddings[:5]
    assert np.allclose(model.embed(files), wanted, atol=1e-5)
    assert np.allclose(load_model(model.save(tmp_path / "bundle"), device="cpu").embed(files), wanted, atol=1e-5)
    assert model.record["training"]["loss"] == "ProxyNCALoss"


def test_without_validation_classes_nothing_is_chosen_and_it_is_said(config, tmp_path):
    config["validation"] = None
    runner, shown = train(config, tmp_path)
    assert shown.count("nothing is chosen: there are no validation classes") == 2, "before and after training"
    assert not (tmp_path / "chosen.pth").exists()
    assert not (tmp_path / "readout.json").exists()
    assert protocol(tmp_path)["choice"]["weights"] == "last epoch"
    assert set(runner.baseline_scores) == {"frozen", "adapted"}
    tested = build_runner(config, checkpoint=tmp_path / "iter_24.pth", work_dir=tmp_path / "test", device="cpu")
    assert tested.test() == runner.last_scores, "the frozen weights were taken out of the model again"


def test_test_classes_that_validate_choose_no_layer(config, tmp_path):
    config["validation"] = "test"
    _, shown = train(config, tmp_path)
    assert "the test classes validate, and they are never looked at for this" in shown
    assert protocol(tmp_path)["choice"]["test_looks"] == 3, "two epochs and the end"


def test_without_any_checkpoint_the_trained_weights_are_scored_and_it_is_said(config, tmp_path, monkeypatch):
    def full(checkpoint, path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", full)
    config["checkpoint"] = dict(on_error="warn")
    _, shown = train(config, tmp_path)
    assert "nothing is measured or chosen: the disk took no checkpoint" in shown
    assert protocol(tmp_path)["choice"]["weights"] == "last epoch"


def test_it_leaves_training_and_the_best_epoch_as_they_are(config, whole_run, tmp_path):
    train(config | dict(readout=None), tmp_path)
    assert not (tmp_path / "chosen.pth").exists()
    for name in ("best.pth", "iter_18.pth"):
        one, other = (load_checkpoint(folder / name)["state_dict"] for folder in (whole_run[0], tmp_path))
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_killed_and_resumed_run_chooses_the_same(config, whole_run, tmp_path):
    config["checkpoint"] = dict(interval_iterations=4)
    runner = build_runner(config, work_dir=tmp_path / "cut", device="cpu", console=Console(quiet=True))
    cut_after(runner, 14)
    train(config, tmp_path / "cut", resume=True)
    assert (tmp_path / "cut" / "iter_16.pth").exists(), "other files than those of the whole run, whose mean is its own"
    whole, cut = (
        [each for each in candidates(folder)["candidates"] if "mean" not in each["weights"]]
        for folder in (whole_run[0], tmp_path / "cut")
    )
    assert whole == cut


def test_a_run_that_is_resumed_for_more_epochs_does_not_keep_the_earlier_choice(config, tmp_path):
    train(config, tmp_path)
    earlier = load_checkpoint(tmp_path / "chosen.pth")["meta"]
    config["train_cfg"]["max_epochs"] = 3
    runner = build_runner(config, work_dir=tmp_path, device="cpu", resume=True, console=Console(quiet=True))
    original = runner.model.train_step

    def look(*args, **kwargs):
        assert not (tmp_path / "chosen.pth").exists()
        return original(*args, **kwargs)

    runner.model.train_step = look
    runner.train()
    assert load_checkpoint(tmp_path / "chosen.pth")["meta"]["candidates"] != earlier["candidates"]


def test_averaged_weights_are_candidates_beside_those_that_were_not(config, tmp_path):
    config["custom_hooks"] = [dict(type="EMAHook", momentum=0.1)]
    runner, _ = train(config, tmp_path / "run")
    names = {each["weights"] for each in candidates(tmp_path / "run")["candidates"]}
    assert {"fine-tuned", "fine-tuned, not averaged", "pretrained", "1/2 fine-tuned"} <= names
    tested = build_runner(config, checkpoint=tmp_path / "run" / "chosen.pth", work_dir=tmp_path / "test", device="cpu")
    assert tested.test() == runner.last_scores


def test_a_backbone_that_stayed_frozen_has_no_mixtures(config, tmp_path):
    config["train_cfg"] = dict(max_epochs=2, warmup_epochs=2)
    config["model"]["backbone"]["frozen_batch_norm"] = True
    train(config, tmp_path)
    found = {(each["weights"], each["layer"]) for each in candidates(tmp_path)["candidates"]}
    assert ("fine-tuned", "head") in found
    assert ("fine-tuned", "pooled") not in found
    assert not any("/" in weights for weights, _ in found)


@pytest.mark.parametrize("freeze", [["backbone"], ["backbone", "head.linear"]], ids=str)
def test_a_feature_that_was_chosen_of_a_frozen_backbone_is_loaded_and_tested(config, tmp_path, freeze):
    config["model"] |= dict(freeze=freeze)
    config["readout"] = dict(layers=["pooled"])
    runner, _ = train(config, tmp_path / "run")
    assert protocol(tmp_path / "run")["choice"]["layer"] == "pooled feature"
    assert load_model(tmp_path / "run", device="cpu").dim == runner.model.backbone.feature_dim
    tested = build_runner(config, checkpoint=tmp_path / "run" / "chosen.pth", work_dir=tmp_path / "test", device="cpu")
    assert tested.test() == runner.last_scores


def test_a_learned_similarity_reads_heads_alone(config, tmp_path):
    config["model"] |= dict(
        similarity=dict(type="PDDM"),
        miner=dict(type="HardQuadrupletMiner", per="anchor"),
        loss=dict(type="DoubleHeaderHingeLoss"),
    )
    runner, _ = train(config, tmp_path)
    assert {each["layer"] for each in candidates(tmp_path)["candidates"]} == {"head"}
    assert set(runner.baseline_scores) == {"frozen", "adapted"}, "by cosine"


def test_images_that_may_be_unreadable_fit_no_layer_and_it_is_said(config, tmp_path):
    config["train_dataloader"]["unreadable"] = "skip"
    _, shown = train(config, tmp_path)
    assert 'without whitened and adapted, because of train_dataloader.unreadable="skip"' in shown
    assert {each["layer"] for each in candidates(tmp_path)["candidates"]} == {"head", "pooled", "both"}


def test_few_images_leave_a_multiple_of_8_dimensions_whose_signs_can_be_scored(config, tmp_path):
    config["model"]["head"]["dim"] = 64
    signs = dict(type="HammingSimilarity")
    config["evaluators"] += [
        dict(type="ScoresBySimilarity", name="binary", similarity=signs, evaluators=[dict(type="RecallAtK", ks=[1])])
    ]
    config["readout"] = dict(layers=["whitened"])
    runner, _ = train(config, tmp_path)
    assert {each["dim"] for each in candidates(tmp_path)["candidates"]} == {256, 32}, "of 36 images, and 35 components"
    assert "binary/recall@1" in runner.last_scores


def test_no_more_images_are_fitted_on_than_asked_for(config, tmp_path):
    config["readout"] = dict(max_images=20)
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    some = runner.readout.fitting.dataset
    assert len(some) == 20
    assert some.num_classes == 9
    assert set(some.labels) == set(range(9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(readout=dict(layer=["head"])), r"readout.layer: there is no such key; did you mean \"layers\""),
        (dict(readout=dict(layers=["heads"])), r"readout: layers must be a list of some of head, pooled"),
        (dict(readout=dict(interpolations=[1.0])), r"readout: interpolations must lie between 0 and 1"),
        (dict(readout=dict(max_images=1)), r"readout: max_images must be at least 2"),
        (dict(readout=True), r"readout: True must be a dict"),
        (dict(readout=dict(score="recall@7")), r"readout.score: no evaluator gives the score 'recall@7'"),
        (dict(readout=dict(), validation=None), r"readout: chooses on validation classes, and there are none"),
        (dict(readout=dict(), validation="test"), r"validation=\"test\" has the test classes alone"),
    ],
)
def test_a_readout_that_cannot_take_effect_is_refused_before_training(config, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_runner(config | changes, work_dir=tmp_path, device="cpu")


def train_in_a_process(config, folder):
    runner = build_runner(config, work_dir=folder, device="cpu", console=Console(quiet=True))
    runner.train()
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.mark.slow
def test_two_processes_choose_what_one_does(config, tmp_path):
    config["model"]["backbone"]["frozen_batch_norm"] = True
    config["train_cfg"] = dict(max_epochs=1)
    config["optim_wrapper"] = dict(optimizer=dict(type="SGD", lr=0.1))
    alone, _ = train(config, tmp_path / "one")
    states = run_in_processes(train_in_a_process, 2, config, tmp_path / "two")
    one, two = candidates(tmp_path / "one"), candidates(tmp_path / "two")
    assert one["chosen"] == two["chosen"]
    assert [each["layer"] for each in one["candidates"]] == [each["layer"] for each in two["candidates"]]
    for name, value in alone.model.state_dict().items():
        assert torch.equal(states[0][name], states[1][name]), "both processes have the chosen model"
        assert torch.allclose(states[0][name], value, atol=1e-4), name
