"""Configs by name, from any folder, of the core and of plug-ins; bases that are installed; copies to edit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metricforge.cli.main import main
from metricforge.config import read_config
from metricforge.config_copy import copy_config
from metricforge.config_files import core_configs, find_config, installed_configs
from metricforge.errors import ConfigError

GLYPHS = core_configs() / "normsoftmax_glyphs.py"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """An installed plug-in ``metricforge_demo`` with configs: one of its own, and a base."""
    site = tmp_path / "site"
    configs = site / "metricforge_demo" / "configs"
    configs.mkdir(parents=True)
    (configs.parent / "__init__.py").write_text("raise ImportError('configs are found without importing')\n")
    (configs / "base.py").write_text("seed = 7\n")
    (configs / "demo_glyphs.py").write_text('"""A demonstration.\n\nMore."""\nmodel = dict()\n')
    info = site / "metricforge_demo-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: metricforge-demo\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metricforge.plugins]\ndemo = metricforge_demo\n")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    return configs


@pytest.mark.parametrize(
    "name",
    [
        "normsoftmax_glyphs",
        "normsoftmax_glyphs.py",
        "configs/normsoftmax_glyphs.py",
        "configs/normsoftmax_glyphs",
        Path("configs") / "normsoftmax_glyphs.py",
        "metricforge::normsoftmax_glyphs",
        "metricforge::normsoftmax_glyphs.py",
        GLYPHS,
    ],
)
def test_an_installed_config_is_found_in_any_folder(name):
    assert find_config(name) == GLYPHS
    assert read_config(name).model.loss.type == "NormSoftmaxLoss"


def test_a_file_of_one_s_own_comes_first():
    Path("configs").mkdir()
    own = Path("configs/normsoftmax_glyphs.py")
    own.write_text("seed = 1\n")
    assert find_config("configs/normsoftmax_glyphs.py") == own
    assert find_config("normsoftmax_glyphs") == GLYPHS


def test_a_name_of_an_installed_config_and_of_another_file_here_is_not_guessed():
    Path("normsoftmax_glyphs.py").write_bytes(GLYPHS.read_bytes())
    assert find_config("normsoftmax_glyphs") == GLYPHS
    Path("normsoftmax_glyphs.py").write_text("seed = 1\n")
    with pytest.raises(ConfigError, match=r"write normsoftmax_glyphs\.py, or metricforge::normsoftmax_glyphs"):
        find_config("normsoftmax_glyphs")
    assert find_config("normsoftmax_glyphs.py") == Path("normsoftmax_glyphs.py")


def test_a_file_of_one_s_own_is_found_without_its_ending():
    Path("mine.py").touch()
    assert find_config("mine") == Path("mine.py")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("normsoftmax_glyph", 'did you mean "normsoftmax_glyphs"?'),
        ("configs/pddm_cubb.py", 'did you mean "pddm_cub"?'),
        ("mein.py", 'did you mean "mine.py"?'),
        ("elsewhere/normsoftmax_glyphs.py", "there is no such file"),
        ("metricforge::pddm_cubb", 'did you mean "metricforge::pddm_cub.py"?'),
        ("metricforge::_base_/datasets/image_foldr.py", 'did you mean "metricforge::_base_/datasets/image_folder.py"?'),
        ("metricforg::pddm_cub", 'did you mean "metricforge"?'),
        ("nothing_like_it::x", "there is no installed package nothing_like_it"),
        ("os.path::x", "there is no installed package os.path"),
        ("", "there is no such file"),
        ("..", "is a folder; name a file in it"),
        ("tables", "there is no such file"),
    ],
)
def test_an_absent_config_is_said_with_the_nearest(name, says):
    Path("mine.py").touch()
    with pytest.raises(ConfigError) as caught:
        find_config(name)
    assert says in str(caught.value)


def test_a_plug_in_s_configs_are_found_and_listed_without_importing_it(demo, capsys):
    assert find_config("metricforge_demo::base.py") == demo / "base.py"
    assert find_config("metricforge_demo::demo_glyphs") == demo / "demo_glyphs.py"
    (listed,) = [config for config in installed_configs() if config.name.startswith("metricforge_demo")]
    assert (listed.name, listed.purpose) == ("metricforge_demo::demo_glyphs", "A demonstration.")
    main(["configs"])
    assert "metricforge_demo::demo_glyphs  A demonstration." in capsys.readouterr().out


@pytest.mark.parametrize("as_list", [False, True])
def test_a_config_builds_on_installed_ones(demo, as_list):
    bases = ["metricforge::_base_/runtime/default.py", "local.py"]
    Path("local.py").write_text("model = dict(head=dict(dim=3))\n")
    Path("other.py").write_text('_base_ = "metricforge_demo::base.py"\ntrain_cfg = dict(max_epochs=_base_.seed)\n')
    Path("mine.py").write_text(f"_base_ = {bases if as_list else 'other.py'!r}\n")
    config = read_config("mine.py").to_dict()
    if as_list:
        assert config == {
            "seed": 0,
            "validation": 0.1,
            "checkpoint": dict(interval=1, max_keep=2, save_best="recall@1"),
            "model": dict(head=dict(dim=3)),
        }
    else:
        assert config == {"seed": 7, "train_cfg": dict(max_epochs=7)}


@pytest.mark.parametrize(
    ("base", "says"),
    [
        ("'metricforge::_base_/runtime/defaults.py'", 'did you mean "metricforge::_base_/runtime/default.py"?'),
        ("['metricforge_dem::base.py']", 'did you mean "metricforge_demo"?'),
        ("['metricforge_demo::bas.py']", 'did you mean "metricforge_demo::base.py"?'),
        ("['locale.py']", 'locale.py is not there; did you mean "local.py"?'),
        ("[3]", "3 must be a file name"),
    ],
)
def test_an_absent_base_is_said_with_the_file_that_names_it_and_the_nearest(demo, base, says):
    Path("local.py").touch()
    Path("mine.py").write_text(f"_base_ = {base}\n")
    with pytest.raises(ConfigError) as caught:
        read_config("mine.py")
    assert "mine.py" in str(caught.value)
    assert says in str(caught.value)


def test_a_copy_has_its_bases_and_reads_the_same(tmp_path):
    copied, written = copy_config("normsoftmax_glyphs", tmp_path / "mine")
    assert copied == tmp_path / "mine" / "normsoftmax_glyphs.py"
    assert {path.relative_to(tmp_path / "mine").as_posix() for path in written} == {
        "normsoftmax_glyphs.py",
        "_base_/datasets/glyphs.py",
        "_base_/schedules/glyphs_adamw.py",
        "_base_/runtime/default.py",
    }
    assert read_config(copied).to_dict() == read_config(GLYPHS).to_dict()


@pytest.mark.parametrize("name", [config.name for config in installed_configs()])
def test_every_config_can_be_copied(name, tmp_path):
    copied, _ = copy_config(name, tmp_path / "mine")
    assert read_config(copied).to_dict() == read_config(name).to_dict()


def test_a_copy_overwrites_nothing_that_differs_unless_told(tmp_path):
    copied, _ = copy_config("normsoftmax_glyphs", tmp_path)
    assert copy_config("normsoftmax_glyphs", tmp_path) == (copied, [])
    edited = tmp_path / "_base_/runtime/default.py"
    edited.write_text("seed = 1\n")
    copied.unlink()
    with pytest.raises(ConfigError, match=r"default\.py: exists and differs; use --out FOLDER, or --force"):
        copy_config("normsoftmax_glyphs", tmp_path)
    assert not copied.exists()
    assert edited.read_text() == "seed = 1\n"
    assert set(copy_config("normsoftmax_glyphs", tmp_path, overwrite=True)[1]) == {copied, edited}


def test_installed_bases_are_not_copied(demo, tmp_path):
    Path("mine.py").write_text('_base_ = ["metricforge_demo::base.py"]\nmodel = dict()\n')
    _, written = copy_config("mine.py", tmp_path / "copy")
    assert written == [tmp_path / "copy" / "mine.py"]


def test_a_base_outside_the_config_s_folder_is_not_copied_outside():
    Path("inner").mkdir()
    Path("outer.py").touch()
    Path("inner/mine.py").write_text('_base_ = "../outer.py"\n')
    with pytest.raises(ConfigError, match="outside the config's folder"):
        copy_config("inner/mine.py", Path("copy"))


def test_the_command_copies_here_and_says_how_to_train(capsys):
    main(["configs", "copy", "normsoftmax_glyphs"])
    out = capsys.readouterr().out
    assert "wrote normsoftmax_glyphs.py" in out
    assert "metricforge train ./normsoftmax_glyphs.py" in out
    main(["configs", "copy", "normsoftmax_glyphs"])
    assert "are there already, unchanged" in capsys.readouterr().out
