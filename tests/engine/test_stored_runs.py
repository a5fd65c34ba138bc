"""What this version makes of the runs and weights of earlier ones."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch

from metricforge import build_runner

TESTS = Path(__file__).parents[1]


def module(name):
    spec = importlib.util.spec_from_file_location(name, TESTS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


stored_run, determinism = module("stored_run"), module("determinism")


@pytest.mark.parametrize("version", sorted(path.name for path in stored_run.RUNS.iterdir()))
def test_a_run_of_an_earlier_version_is_resumed_to_the_same_end(version, tmp_path, monkeypatch):
    stored = stored_run.RUNS / version
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    shutil.copy(stored / "vectors.npz", tmp_path)
    (halfway,) = stored.glob("iter_*.pth")
    shutil.copy(halfway, tmp_path / "run")
    end = json.loads((stored / "end.json").read_text())
    runner = build_runner(stored_run.config(), work_dir="run", device="cpu", resume=True)
    runner.train()
    assert runner.iter == end["ends after"]
    found = runner.model.state_dict()
    for name, weight in end["weights"].items():
        torch.testing.assert_close(found[name].flatten(), torch.tensor(weight), rtol=1e-5, atol=1e-6)
    if end["holds for"] == determinism.here():  # elsewhere the last bits are those of another library or processor
        assert stored_run.hash_of(found) == end["hash"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", determinism.recipes())
@pytest.mark.filterwarnings("ignore")
def test_a_recipe_trains_the_weights_that_are_recorded_for_it(recipe):
    reason = determinism.elsewhere()
    if reason:
        pytest.skip(reason)
    wanted = determinism.recorded()["hashes"]
    assert determinism.hash_of(recipe) == wanted[recipe], (
        f"{recipe} trains other weights than before; if that is meant, say so in CHANGELOG.md and run "
        "python tests/determinism.py --write"
    )


def test_every_recipe_that_needs_no_download_is_recorded():
    assert set(determinism.recorded()["hashes"]) == set(determinism.recipes())
