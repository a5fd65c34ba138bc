"""The example of a plug-in is installed as its user would, found, and trained with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the example is installed, beside everything else."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin"
    source.mkdir()
    for name in ("pyproject.toml", "metricforge_circle.py"):
        (source / name).write_bytes((EXAMPLE / name).read_bytes())
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--disable-pip-version-check", "--target", str(target), str(source)], check=True)
    return dict(os.environ, PYTHONPATH=str(target), COLUMNS="200", OMP_NUM_THREADS="1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from metricforge.cli.main import main; main()", *arguments]


@pytest.mark.slow
def test_an_installed_plug_in_is_listed_and_trains(installed, tiny_config, tmp_path):
    listed = subprocess.run(command("plugins"), env=installed, capture_output=True, text=True, check=True).stdout
    assert "metricforge-circle" in listed
    assert "loss CircleLoss" in listed

    tiny_config["model"]["loss"] = dict(type="CircleLoss", margin=0.25)
    tiny_config["model"]["miner"] = None
    config = tmp_path / "config.py"
    config.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    train = command("train", str(config), "--device", "cpu", "--work-dir", str(tmp_path / "run"))
    done = subprocess.run(train, env=installed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "CircleLoss" in done.stdout
    assert (tmp_path / "run" / "scores.json").is_file()


def test_without_it_the_loss_is_unknown(tiny_config, tmp_path):
    tiny_config["model"]["miner"] = None
    tiny_config["model"]["loss"] = dict(type="CircleLoss")
    config = tmp_path / "config.py"
    config.write_text("\n".join(f"{key} = {value!r}" for key, value in tiny_config.items()))
    done = subprocess.run(command("train", str(config)), capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert 'model.loss.type: "CircleLoss" is not a registered loss' in done.stderr
    assert "Traceback" not in done.stderr
