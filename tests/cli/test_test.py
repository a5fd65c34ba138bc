from __future__ import annotations

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from metricforge import build_runner
from metricforge.cli.main import main


@pytest.fixture
def trained(tiny_config, tmp_path, monkeypatch):
    """A run of eight 8-dimensional classes, as the words of a command: its config and its checkpoint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    tiny_config["train_cfg"] = dict(max_epochs=1)
    tiny_config["param_scheduler"] = []
    build_runner(tiny_config, work_dir="run", device="cpu").train()
    return ["run/triplet_image_folder.py", "run/iter_6.pth", "--device", "cpu"]


def run(*words) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_the_command_that_it_prints_gives_equal_scores_of_what_it_saved(trained, tmp_path, capsys, ending):
    assert run("test", *trained, "--save-embeddings", f"em beddings.{ending}") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("score them again: ")]
    words = shlex.split(line)
    assert run(*words[words.index("evaluate") :], "--json", "again.json") == 0
    expected = json.loads((tmp_path / "run/evaluations/iter_6-1/scores.json").read_text())["scores"]
    assert json.loads((tmp_path / "again.json").read_text())["scores"] == expected
    assert set(expected) == {"recall@1", "recall@2", "map@r", "nmi"}


def test_a_gallery_of_its_own_goes_into_a_second_file(trained, image_folder, tmp_path, capsys):
    files = sorted(image_folder.rglob("*.png"))
    rows = [
        f"{file},{file.parent.name},test,{'query' if number % 3 else 'gallery'}" for number, file in enumerate(files)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["path,label,split,role", *rows]))
    dataset = 'dict(type="TableDataset",table="table.csv",split="test",transform=[dict(type="CenterCrop",size=16)])'
    options = ["--cfg-options", f"test_dataloader.dataset={dataset}"]
    assert run("test", *trained, "--save-embeddings", "e.npz", *options) == 0, capsys.readouterr()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("score them again: ")]
    words = shlex.split(line)
    assert words[words.index("--gallery") + 1] == "e.gallery.npz"
    assert run(*words[words.index("evaluate") :], "--json", "again.json") == 0
    expected = json.loads((tmp_path / "run/evaluations/iter_6-1/scores.json").read_text())["scores"]
    assert json.loads((tmp_path / "again.json").read_text())["scores"] == expected


def test_pictures_of_chosen_queries_with_numbers_and_bits_and_a_map(trained, tmp_path, capsys):
    picture = ["--picture", "a.png", "--picture-queries", "5,0", "--picture-neighbours", "3"]
    assert run("test", *trained, *picture) == 0
    assert run("test", *trained, *picture[:1], "b.png", *picture[2:], "--picture-numbers", "--picture-bits") == 0
    plain, rich = (Image.open(tmp_path / name) for name in ("a.png", "b.png"))
    assert rich.width == plain.width
    assert rich.height > 1.7 * plain.height
    assert run("plot", "map", *trained, "--images", 12, "--out", "map.png") == 0
    assert "12 images drawn into map.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--picture-bits"], "--picture-bits: applies to a picture, and none is drawn; add --picture FILE"),
        (["--picture", "a.png", "--picture-queries", "3", "--picture-rows", "2"], "names the queries already"),
        (["--picture", "a.png", "--picture-queries", "worst"], "must be mixed, successes, failures, or ids"),
        (["--picture", "a.doc"], "must end in one of"),
        (["--save-embeddings", "a.csv"], "must end in .npz or .parquet"),
    ],
)
def test_options_that_cannot_take_effect_are_named_before_anything_is_read(options, says, capsys):
    assert run("test", "absent.py", "absent.pth", *options) != 0
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_query_that_is_not_there_and_too_many_neighbours_are_named(trained, capsys):
    assert run("test", *trained, "--picture", "a.png", "--picture-queries", "99") == 1
    assert "no query has the id 99; ids are in 0..23" in capsys.readouterr().err
    assert run("test", *trained, "--picture", "a.png", "--picture-neighbours", "24") == 1
    assert "k (24) must be in 1..23" in capsys.readouterr().err


def test_curves_over_a_setting_are_drawn_and_printed(trained, tmp_path, capsys):
    assert run("plot", "curve", "run", "--against", "model.head.dim", "--score", "recall@1,nmi", "--out", "c.png") == 0
    scores = json.loads((tmp_path / "run/scores.json").read_text())["scores"]
    printed = capsys.readouterr().out
    assert f"recall@1  8: {100 * scores['recall@1']:.1f}" in printed
    assert np.asarray(Image.open(tmp_path / "c.png")).std() > 0
