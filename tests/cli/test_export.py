"""``metricforge export`` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from metricforge.cli.main import main
from metricforge.cli.parsers.export import FORMATS
from metricforge.deployment.graphs.export_model import FORMATS as KNOWN


@pytest.fixture
def run(image_folder, tmp_path_factory, tiny_config):
    from rich.console import Console

    from metricforge import build_runner

    folder = tmp_path_factory.mktemp("runs") / "run"
    tiny_config["train_cfg"]["max_epochs"] = 1
    del tiny_config["param_scheduler"]
    build_runner(tiny_config, work_dir=folder, device="cpu", console=Console(quiet=True)).train()
    return folder


def test_the_parser_s_formats_are_those_that_there_are():
    assert FORMATS == KNOWN


def test_a_run_becomes_a_bundle_with_a_graph_and_the_command_says_how_near_it_comes(run, tmp_path, capsys):
    main(["export", str(run), "--out", str(tmp_path / "bundle"), "--format", "torchscript", "--license", "mit"])
    out = capsys.readouterr().out
    assert "Recall@1" in out
    assert "largest difference of a number, by batch: 0 at 1, 0 at 7, 0 at 64" in out
    assert 'license: "mit"' in (tmp_path / "bundle" / "README.md").read_text()
    described = json.loads((tmp_path / "bundle" / "model.json").read_text())
    assert described["graphs"]["model.pt"]["compared"]["batches"] == [1, 7, 64]


def test_an_out_that_exists_is_refused_before_the_model_is_read(tmp_path, capsys):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").touch()
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path / "absent"), "--out", str(tmp_path / "bundle")])
    assert "already exists; name a new folder" in capsys.readouterr().err


def test_a_format_that_does_not_exist_names_those_that_do():
    line = [sys.executable, "-m", "metricforge", "export", "run", "--out", "b", "--format", "onix"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 2
    assert "torchscript" in done.stderr


def test_a_bundle_of_a_model_of_vectors_is_used_in_python(vector_model, tmp_path, capsys):
    vector_model.save(tmp_path / "vectors")
    main(["export", str(tmp_path / "vectors"), "--out", str(tmp_path / "bundle")])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("use it:"))
    assert line == f"use it:  metricforge.load_model('{tmp_path / 'bundle'}').embed(vectors), in Python"
