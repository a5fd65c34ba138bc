"""Trap 10 of mmengine: every mistake in a config is found before training, with its path and the nearest valid name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metricforge import build_runner
from metricforge.absent_types import FIRST_PARTY_TYPES
from metricforge.config import complete_config, read_config
from metricforge.config_check import check_config
from metricforge.config_files import InstalledConfig
from metricforge.errors import ConfigError, DatasetError
from metricforge.models import MetricLearner
from metricforge.plugins import load_plugins
from metricforge.registry import BACKBONES, EVALUATORS, KINDS, SAMPLERS

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def faults_of(config, **changes):
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = config
        for key in parents:
            part = part[key]
        part[last] = value
    return check_config(config)


def test_a_good_config_has_no_fault(tiny_config):
    assert check_config(tiny_config) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modle": {}}, ["modle: there is no such top-level key", 'did you mean "model"']),
        ({"model__loss__type": "Tripletloss"}, ['model.loss.type: "Tripletloss"', 'did you mean "TripletLoss"']),
        ({"model__loss__marjin": 1}, ["model.loss.marjin: TripletLoss has no such argument", 'did you mean "margin"']),
        ({"model__los": {}}, ["model.los: a model has no such part", 'did you mean "loss"']),
        ({"model__backbone__type": "json"}, ['model.backbone.type: "json" is not a registered backbone']),
        ({"train_dataloader__sampler": None}, ["train_dataloader.sampler: is missing", "ClassBalancedBatchSampler"]),
        ({"train_dataloader__shuffle": True}, ["train_dataloader.shuffle: there is no such key"]),
        (
            {"train_dataloader__dataset__rot": "x"},
            ['rot: ImageFolderDataset has no such argument; did you mean "root"'],
        ),
        ({"evaluators": [dict(type="RecalAtK")]}, ['evaluators[0].type: "RecalAtK"', 'did you mean "RecallAtK"']),
        ({"optim_wrapper__optimizer__type": "Adamw"}, ['optimizer.type: "Adamw"', 'did you mean "AdamW"']),
        ({"optim_wrapper__optimizer__learning_rate": 1}, ["optimizer.learning_rate: AdamW has no such argument"]),
        ({"optim_wrapper__clip_gard": {}}, ["optim_wrapper.clip_gard", 'did you mean "clip_grad"']),
        ({"optim_wrapper": {}}, ["optim_wrapper: is missing"]),
        ({"train_cfg__max_epoch": 1}, ["train_cfg.max_epoch: there is no such key", 'did you mean "max_epochs"']),
        ({"train_cfg": dict(val_interval=1)}, ["train_cfg.max_epochs", "needs this argument"]),
        ({"checkpoint": dict(keep=1)}, ["checkpoint.keep: there is no such key"]),
        ({"param_scheduler": [dict(type="CosineLR")]}, ['param_scheduler[0].type: "CosineLR"']),
        ({"param_scheduler": [dict(type="StepLR", step=1)]}, ["param_scheduler[0].step: StepLR has no such argument"]),
        ({"custom_hooks": [dict(type="EMAHok")]}, ['custom_hooks[0].type: "EMAHok"', 'did you mean "EMAHook"']),
        ({"seed": -1}, ["seed: -1 must be an integer from 0 to 2147483647"]),
        ({"model__miner": dict(type="HardPairMiner")}, ["HardPairMiner yields Pairs", "TripletLoss accepts Triplets"]),
        ({"model__backbone": None}, ["model.backbone: is missing", "GlyphNet"]),
        ({"test_dataloader__dataset__transform": [dict(type="CentreCrop")]}, ["transform[0].type", '"CenterCrop"']),
    ],
)
def test_a_mistake_is_named_with_its_path_and_the_way_out(tiny_config, changes, says):
    faults = faults_of(tiny_config, **changes)
    assert len(faults) == 1, faults
    for words in says:
        assert words in faults[0]


def test_several_faults_are_reported_together(tiny_config, tmp_path):
    tiny_config["modle"] = {}
    tiny_config["model"]["loss"]["marjin"] = 1
    tiny_config["train_dataloader"].pop("sampler")
    with pytest.raises(ConfigError, match="3 faults") as caught:
        build_runner(tiny_config, work_dir=tmp_path)
    assert len(caught.value.faults) == 3


def test_a_misspelt_miner_is_one_fault(tiny_config):
    assert len(faults_of(tiny_config, model__miner=dict(type="RandomTripletMinr"))) == 1


def test_a_type_of_a_plug_in_that_is_not_installed_says_which(tiny_config, monkeypatch):
    from metricforge import LOSSES

    LOSSES.names()
    monkeypatch.setattr(
        LOSSES, "_module_dict", {k: v for k, v in LOSSES._module_dict.items() if k != "NormSoftmaxLoss"}
    )
    (fault,) = faults_of(tiny_config, model__loss=dict(type="NormSoftmaxLoss"), model__miner=None)
    assert "comes with the plug-in metricforge-normsoftmax" in fault
    assert "pip install" in fault


def test_an_argument_out_of_range_is_led_by_its_config_path(tiny_config, tmp_path):
    tiny_config["model"]["loss"]["margin"] = -1
    with pytest.raises(ConfigError, match=r"model\.loss: margin must be"):
        build_runner(tiny_config, work_dir=tmp_path)


def test_an_absent_data_set_is_said_before_a_model_is_built(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["dataset"]["root"] = str(tmp_path / "nowhere")
    tiny_config["model"]["backbone"] = dict(type="TimmBackbone", name="no_such_network")
    with pytest.raises(DatasetError, match="nowhere"):
        build_runner(tiny_config, work_dir=tmp_path)


def test_data_root_stands_for_both_data_sets(tiny_config, tmp_path):
    with pytest.raises(DatasetError, match="elsewhere"):
        build_runner(tiny_config, work_dir=tmp_path, overrides={"data_root": str(tmp_path / "elsewhere")})


def test_an_unknown_device_says_which_there_are(tiny_config, tmp_path):
    with pytest.raises(ConfigError, match=r"--device cuda:97: .*this machine has cpu"):
        build_runner(tiny_config, work_dir=tmp_path, device="cuda:97")


def test_a_custom_key_that_matches_no_parameter_is_refused(tiny_config, tmp_path):
    tiny_config["optim_wrapper"]["paramwise_cfg"] = dict(custom_keys={"bakbone": dict(lr_mult=0.1)})
    with pytest.raises(ConfigError, match='"bakbone" is in the name of no trainable parameter'):
        build_runner(tiny_config, work_dir=tmp_path).train()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model = dict(\n", "is not Python"),
        ('_base_ = ["nowhere.py"]\n', "nowhere.py"),
        ("x = 1 / 0\n", "ZeroDivisionError"),
        ('import os\nroot = os.path.join("a", "b")\n', "may not import and call modules"),
    ],
)
def test_a_config_that_does_not_run_names_its_file(tmp_path, text, says):
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.py") as caught:
        read_config(path)
    assert says in str(caught.value)


@pytest.mark.parametrize("value", ["(i for i in [])", "open('/dev/null')", "[1, dict(a=(i for i in []))]"])
def test_what_is_no_value_is_named_by_its_key(tmp_path, value):
    path = tmp_path / "config.py"
    path.write_text(f"optim_wrapper = dict(optimizer=dict(lr={value}))\n")
    with pytest.raises(ConfigError, match=r"optim_wrapper\.optimizer\.lr[^ ]*: .* is not a value; write numbers, text"):
        read_config(path)
    (tmp_path / "above.py").write_text("_base_ = ['config.py']\n")
    with pytest.raises(ConfigError, match=r"cannot pickle .*, in a file of _base_; write numbers"):
        read_config(tmp_path / "above.py")


def test_what_is_no_value_in_a_dict_is_named_by_its_key(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["num_workers"] = (i for i in [])
    with pytest.raises(ConfigError, match=r"train_dataloader\.num_workers: .* is not a value"):
        build_runner(tiny_config, work_dir=tmp_path)


def test_an_absent_config_names_the_nearest(tmp_path):
    (tmp_path / "triplet_glyphs.py").touch()
    with pytest.raises(ConfigError, match=r'did you mean ".*triplet_glyphs\.py"'):
        read_config(tmp_path / "triplet_glyph.py")


def test_an_override_replaces_a_value_and_a_misspelt_one_is_found(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("model = dict(loss=dict(type='TripletLoss', margin=0.1))\n")
    assert read_config(path, {"model.loss.margin": 0.5}).model.loss.margin == 0.5
    assert any(f.startswith("modle:") for f in check_config(read_config(path, {"modle.loss.margin": 0.5})))


def read_whole(path):
    """The config, complete; skips where one of its plug-ins or data sets is not there (and only then)."""
    config = read_config(path)
    complete_config(config)
    load_plugins()
    known = {name for kind in KINDS.values() for name in kind.names()}
    text = repr(config.to_dict())
    needed = {name for name in FIRST_PARTY_TYPES if f"'{name}'" in text} | set(re.findall(r"'(pml\.\w+)'", text))
    if absent := (needed | {config.test_dataloader.dataset.type}) - known:
        pytest.skip(f"not installed: {', '.join(sorted(absent))}")
    return config


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_opens_with_its_launch_line_and_its_purpose(path):
    launch, purpose = path.read_text().splitlines()[:2]
    assert launch.split(" --")[0] == f"# metricforge train {path.stem}"
    assert InstalledConfig(path.stem, path).purpose == purpose.removeprefix("# ")
    assert 20 < len(purpose) <= 100
    assert purpose.endswith(".")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_has_no_fault_and_its_parts_can_be_built(path):
    config = read_whole(path)
    assert check_config(config, num_classes=200) == []
    model = MetricLearner.from_config({**config.model, "backbone": dict(type="GlyphNet")}, num_classes=200)
    sampler = SAMPLERS.build(
        config.train_dataloader.sampler, labels=[label for label in range(200) for _ in range(4)], seed=0
    )
    assert len(sampler) > 0
    for key in ("evaluators", "final_evaluators"):
        for number, evaluator in enumerate(config.get(key, [])):
            if evaluator.get("tree") == "wordnet" and not wordnet_is_installed():
                pytest.skip("WordNet is not installed (Debian: wordnet-base)")
            EVALUATORS.build(evaluator, path=f"{key}[{number}]", dim=model.head.dim)
    if config.validation is None:
        assert config.checkpoint.save_best is None  # as in the papers: the last epoch
    else:
        assert config.checkpoint.save_best in recalls(config.evaluators)  # of every validation, not the test alone


def wordnet_is_installed() -> bool:
    try:
        EVALUATORS.build(dict(type="ZeroShot", tree="wordnet"), dim=8)
    except Exception as fault:
        return "needs WordNet" not in str(fault)
    return True


def recalls(evaluators) -> set[str]:
    found = {f"recall@{k}" for evaluator in evaluators if evaluator.type == "RecallAtK" for k in evaluator.ks}
    for evaluator in evaluators:
        name = evaluator.get("name", "reranked")
        found |= {f"{name}/{score}" for score in recalls(evaluator.get("evaluators", []))}
    return found


@pytest.mark.parametrize("path", [path for path in CONFIGS if "glyphs" not in path.stem], ids=lambda path: path.stem)
def test_every_config_of_real_images_says_what_to_do_when_they_are_absent(path, tmp_path):
    read_whole(path)
    with pytest.raises(DatasetError, match="data_root=FOLDER"):
        build_runner(path, overrides={"data_root": str(tmp_path / "none")}, work_dir=tmp_path / "run")


RECIPE_BACKBONES = [
    ("TorchvisionBackbone", "alexnet", 4096),
    ("TorchvisionBackbone", "googlenet", 1024),
    ("TorchvisionBackbone", "resnet50", 2048),
    ("TimmBackbone", "tf_efficientnet_lite0", 1280),
    ("TimmBackbone", "vit_small_patch14_reg4_dinov2.lvd142m", 384),
]


@pytest.mark.parametrize(("kind", "name", "size"), RECIPE_BACKBONES)
def test_every_backbone_of_the_recipes_exists(kind, name, size):
    assert BACKBONES.build(dict(type=kind, name=name)).feature_dim == size


def test_the_recipes_have_no_other_backbone():
    backbones = [read_config(path).model.backbone for path in CONFIGS]
    expected = {(kind, name) for kind, name, _ in RECIPE_BACKBONES}
    expected |= {("GlyphNet", None), ("BNInception", None), ("IdentityBackbone", None)}
    assert {(backbone.type, backbone.get("name")) for backbone in backbones} == expected
