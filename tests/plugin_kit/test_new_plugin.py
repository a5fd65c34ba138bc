from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys

import numpy as np
import pytest

from metricforge import EVALUATORS, build_runner, evaluate_embeddings
from metricforge.cli.parsers.plugin import KINDS as OFFERED
from metricforge.component_source import announced_sources
from metricforge.config import complete_config, read_config
from metricforge.config_check import check_config
from metricforge.errors import PluginError
from metricforge.plugin_kit import check_plugin, new_plugin
from metricforge.plugin_kit.new_plugin import KINDS, plugin_names
from metricforge.plugins import REGISTRIES, load_plugins


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes a plug-in and announces it as pip would; what it registered is forgotten afterwards."""
    load_plugins()
    before = [(registry.module_dict, dict(registry.module_dict)) for registry in REGISTRIES.values()]

    def install(name: str, kind: str):
        folder = new_plugin(name, kind, tmp_path)
        names = plugin_names(name)
        info = folder / f"{names.package}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {names.distribution}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[metricforge.plugins]\n{names.entry} = {names.package}\n")
        monkeypatch.syspath_prepend(str(folder))
        importlib.invalidate_caches()
        load_plugins.cache_clear()
        announced_sources.cache_clear()
        return folder

    yield install
    for known, content in before:
        known.clear()
        known.update(content)
    for name in list(sys.modules):
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    load_plugins.cache_clear()
    announced_sources.cache_clear()


def test_the_command_offers_every_kind_there_is_a_template_for():
    assert KINDS == OFFERED == tuple(sorted(REGISTRIES))


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plug_in_keeps_the_contract_its_test_passes_and_its_config_has_no_fault(installed, kind):
    name = f"Stranger{kind.capitalize()}"
    folder = installed(name, kind)
    (checked,) = check_plugin(f"stranger_{kind}")
    assert (checked.kind, checked.name, checked.fault) == (kind, name, "")
    tests = runpy.run_path(str(folder / "tests" / f"test_stranger_{kind}.py"))
    for test in [value for key, value in tests.items() if key.startswith("test_")]:
        test()
    config = read_config(f"metricforge_stranger_{kind}::stranger_{kind}_glyphs")
    complete_config(config)
    assert name in repr(config.to_dict())
    assert check_config(config) == []


def test_the_evaluator_of_a_new_plug_in_is_1_where_every_image_is_found(installed):
    installed("Coverage", "evaluator")
    load_plugins()
    context = evaluate_embeddings(np.eye(4), [0, 0, 1, 1], scores=["recall@1"]).context
    assert EVALUATORS.build(dict(type="Coverage", k=3)).evaluate(context) == {"coverage@3": 1.0}


def test_a_component_that_breaks_its_contract_is_told_with_the_clause(installed):
    folder = installed("BrokenLoss", "loss")
    file = folder / "metricforge_broken_loss" / "broken_loss.py"
    file.write_text(file.read_text().replace("(pull + push)", "-(pull + push)"))
    (checked,) = check_plugin("metricforge-broken-loss")
    assert "has the total the wrong sign" in checked.fault


def test_a_component_whose_arguments_nobody_gives_says_where_to_give_them(installed):
    folder = installed("NeedyHead", "head")
    (folder / "metricforge_needy_head" / "configs" / "needy_head_glyphs.py").unlink()
    (checked,) = check_plugin("needy_head")
    assert "NeedyHead.dim: NeedyHead needs this argument" in checked.fault
    assert "metricforge_needy_head/configs" in checked.fault


def test_a_plug_in_that_is_not_there_is_told_the_nearest(installed):
    installed("SoundLoss", "loss")
    with pytest.raises(PluginError, match=r'no plug-in "sound-los" is installed; did you mean "sound_loss"'):
        check_plugin("sound-los")


def test_a_plug_in_that_does_not_load_says_why(installed):
    folder = installed("SoundLoss", "loss")
    (folder / "metricforge_sound_loss" / "__init__.py").write_text("1 / 0")
    with (
        pytest.warns(UserWarning, match="failed to load"),
        pytest.raises(PluginError, match=r"sound_loss \(metricforge-sound-loss\): ZeroDivisionError"),
    ):
        check_plugin("sound_loss")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("3loss", "loss", "must begin with a letter"),
        ("my loss!", "loss", "must begin with a letter"),
        ("größe", "loss", "must begin with a letter"),
        ("", "loss", "must begin with a letter"),
        ("class", "loss", "is a word of Python"),
        ("TripletLoss", "loss", "TripletLoss is a loss of metricforge; take another name"),
        ("triplet-loss", "miner", "TripletLoss is a loss of metricforge; take another name"),
        ("Lifted", "loss", "a package metricforge_lifted is installed"),
        ("ShopLoss", "los", '"los" is not a kind of component; did you mean "loss"'),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(tmp_path, name, kind, said):
    with pytest.raises(PluginError, match=said):
        new_plugin(name, kind, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_stays_as_it_is(tmp_path):
    (tmp_path / "metricforge-shop-loss").mkdir()
    with pytest.raises(PluginError, match="metricforge-shop-loss already exists"):
        new_plugin("ShopLoss", "loss", tmp_path)
    assert not list((tmp_path / "metricforge-shop-loss").iterdir())


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("ShopLoss", ("ShopLoss", "metricforge_shop_loss", "metricforge-shop-loss")),
        ("shop-loss", ("ShopLoss", "metricforge_shop_loss", "metricforge-shop-loss")),
        ("PDDMHead", ("PDDMHead", "metricforge_pddm_head", "metricforge-pddm-head")),
    ],
)
def test_the_parts_are_named_after_the_component(name, names):
    found = plugin_names(name)
    assert (found.class_name, found.package, found.distribution) == names


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plug_in_of_every_kind_trains_on_glyphs_unchanged(installed, tmp_path, kind):
    installed(f"Stranger{kind.capitalize()}", kind)
    config = f"metricforge_stranger_{kind}::stranger_{kind}_glyphs"
    short = {"train_cfg.max_epochs": 1, "train_dataloader.sampler.batches_per_epoch": 2}
    runner = build_runner(config, overrides=short | {"baselines": None}, work_dir=tmp_path / "run", device="cpu")
    runner.test_loop.run = dict  # 10,000 images; those of the validation show the same
    runner.train()
    assert runner.iter == 2
    assert runner.last_scores["recall@1"] > 1 / 12  # by chance, of the fewest validation classes
    own = {"evaluator": "stranger_evaluator@10", "clustering": "stranger_clustering/nmi"}
    assert own.get(kind, "recall@1") in runner.last_scores


@pytest.mark.slow
def test_a_new_plug_in_installs_is_checked_and_trains(tmp_path):
    folder, site = new_plugin("ShopMiner", "miner", tmp_path), tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(folder)], check=True)
    environment = dict(os.environ, PYTHONPATH=str(site), OMP_NUM_THREADS="1")

    def command(*arguments: str) -> str:
        start = [sys.executable, "-c", "from metricforge.cli.main import main; main()", *arguments]
        done = subprocess.run(start, env=environment, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "ShopMiner" in command("plugin", "check", "shop-miner")
    short = ["--cfg-options", "train_cfg.max_epochs=1", "--device", "cpu", "--work-dir", "run"]
    command("train", "metricforge_shop_miner::shop_miner_glyphs", *short)
    assert "ShopMiner='metricforge-shop-miner 0.1.0'" in (tmp_path / "run" / "shop_miner_glyphs.py").read_text()
