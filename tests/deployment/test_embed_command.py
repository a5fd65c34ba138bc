"""``metricforge embed`` as a person types it: sources that are none, and what its options change."""

from __future__ import annotations

import io
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge.cli.main import main
from metricforge.deployment import EmbeddingModel
from metricforge.deployment.model_description import ModelDescription
from metricforge.functional.fast_bfloat16 import has_fast_bfloat16
from metricforge.models import MetricLearner


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    return _bundle(tmp_path, "CosineSimilarity")


def _bundle(tmp_path: Path, similarity: str) -> str:
    """The pixels of a 3 x 3 image themselves, compared by ``similarity``."""
    architecture = dict(
        backbone=dict(type="RawPixels", height=3, width=3),
        head=dict(type="EmbeddingHead", l2_normalize=True),
        similarity=dict(type=similarity),
    )
    description = ModelDescription(architecture=architecture, preprocessing=(dict(type="Resize", size=(3, 3)),))
    learner = MetricLearner.from_config(architecture, None)
    return str(EmbeddingModel(learner, description, torch.device("cpu"), "here").save(tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("similarity", "option"), [("CosineSimilarity", "cosine"), ("EuclideanSimilarity", "euclidean")]
)
def test_the_command_that_it_prints_compares_as_the_model_does(similarity, option, image_folder, tmp_path, capsys):
    main(["embed", _bundle(tmp_path, similarity), str(image_folder), "--out", str(tmp_path / "out"), "--workers", "0"])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("score them: ")]
    words = shlex.split(line)
    main(words[words.index("evaluate") :])
    assert f"by {option} similarity" in capsys.readouterr().out


def test_it_says_that_another_similarity_gives_other_scores(image_folder, tmp_path, capsys):
    bundle = _bundle(tmp_path, "PDDM")
    main(["embed", bundle, str(image_folder), "--out", str(tmp_path / "out"), "--workers", "0"])
    assert "by cosine, euclidean, hamming, not by PDDM, so it gives other scores" in capsys.readouterr().out


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "a photo.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(3, 3, 3), dtype=np.uint8)).save(path)
    return path


def fails(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit, match="1"):
        main(["embed", *map(str, words), "--workers", "0", "--device", "cpu"])
    return capsys.readouterr().err


def test_strict_stops_at_an_image_that_an_earlier_start_left_out_and_tries_it_again(bundle, photo, tmp_path, capsys):
    broken = photo.with_name("broken.png")
    broken.write_bytes(b"no picture")
    words = ["embed", bundle, str(photo.parent), "--out", str(tmp_path / "out"), "--workers", "0"]
    main(words)
    assert "1 images could not be read" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main([*words, "--strict"])
    assert "broken.png cannot be read as an image" in capsys.readouterr().err
    main(words)
    told = capsys.readouterr().out
    assert "1 embeddings of 27 dimensions" in told
    assert "an earlier start had finished 2 of 2 images" in told
    broken.write_bytes(photo.read_bytes())
    main([*words, "--strict"])
    assert "2 embeddings of 27 dimensions" in capsys.readouterr().out
    assert not (tmp_path / "out" / "unreadable.csv").exists()


def test_workers_of_this_process_are_none_of_a_cluster(bundle, photo, tmp_path, capsys):
    told = fails(capsys, bundle, photo.parent, "--out", tmp_path / "out", "--engine", "ray")
    assert "--workers does not apply to --engine ray, whose processes read their own images" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"photos/a photo.png\0photos/b.png\0", "has a zero byte, which no path has"),
        (b"a.png\ncaf\xe9.png\n", "not UTF-8"),
        (b"\n \n", "the standard input has no images"),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_list_that_holds_no_paths_is_refused(content, told, errors, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors=errors))
    assert told in fails(capsys, bundle, "-", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_list_of_windows_is_read(bundle, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = b"\xef\xbb\xbfphotos/a photo.png\r\n\r\nphotos/a photo.png\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    main(["embed", bundle, "-", "--out", "out", "--workers", "0", "--device", "cpu"])
    assert "2 embeddings of 27 dimensions" in capsys.readouterr().out


def test_what_embeds_nothing_is_an_error_that_shows_a_reason(bundle, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "x.png").write_bytes(b"")
    (tmp_path / "list.csv").write_text("path\nphotos/absent.png\n")
    told = fails(capsys, bundle, tmp_path / "list.csv", "--out", tmp_path / "out")
    assert "none of the 1 images" in told
    assert f"{tmp_path}/photos/absent.png cannot be read as an image (No such file or directory)" in told
    assert "no format that Pillow knows" in fails(capsys, bundle, tmp_path / "photos", "--out", tmp_path / "out2")


def test_an_empty_pattern_a_taken_column_and_a_file_for_a_folder_are_refused(bundle, photo, tmp_path, capsys):
    out = ("--out", tmp_path / "out")
    assert "--glob is empty" in fails(capsys, bundle, photo.parent, *out, "--glob", "")
    (tmp_path / "list.csv").write_text("path,id\nphotos/a photo.png,7\n")
    assert "rename it, such as to product_id" in fails(capsys, bundle, tmp_path / "list.csv", *out)
    assert f"{photo}: File exists; name another place" in fails(capsys, bundle, photo.parent, "--out", photo)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    for place in ("/proc/absent", tmp_path / "circle" / "x"):  # a folder that takes none, and a link to itself
        assert f"{place}: " in (told := fails(capsys, bundle, photo.parent, "--out", place))
        assert "; name another place" in told
    assert "the source of the images is empty; expected: a folder" in fails(capsys, bundle, "", *out)


def test_a_path_that_the_shell_leaves_with_a_tilde_is_in_the_home_folder(bundle, photo, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    main(["embed", bundle, str(photo.parent), "--out=~/vectors", "--workers", "0"])
    assert (tmp_path / "home" / "vectors" / "part-000000.parquet").exists()
    assert not (tmp_path / "~").exists()


def test_an_empty_path_is_refused_and_never_the_present_folder(bundle, photo, capsys):
    for words in (["embed", bundle, str(photo), "--out", ""], ["export", "", "--out", "x"], ["search", "", str(photo)]):
        with pytest.raises(SystemExit):
            main(words)
        assert "is empty; name a path, such as . for the present folder" in capsys.readouterr().err


@pytest.mark.parametrize(("flags", "fast"), [("avx2 avx512f", False), ("avx512f avx512_bf16", True), (None, None)])
def test_bfloat16_is_told_to_be_slow_where_the_processor_has_none(
    flags, fast, bundle, photo, tmp_path, monkeypatch, capsys
):
    cpu = tmp_path / "cpuinfo"
    if flags is not None:
        cpu.write_text(f"processor : 0\nflags\t\t: fpu {flags}\n\nprocessor : 1\n")
    monkeypatch.setattr("metricforge.functional.fast_bfloat16.CPU", cpu)
    assert has_fast_bfloat16("cpu") is fast
    main(["embed", bundle, str(photo.parent), "--out", str(tmp_path / "out"), "--precision", "bf16", "--device", "cpu"])
    told = capsys.readouterr().out
    assert ("does not compute in bfloat16" in told) == (fast is False)
    assert "options  change the values of the first 1 vectors by at most " in told
