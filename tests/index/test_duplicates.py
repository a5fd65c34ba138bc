from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from metricforge.__main__ import main
from metricforge.deployment.image_collection import open_collection
from metricforge.errors import EmbeddingsError
from metricforge.index import build_index


def _groups_of_a_loop(vectors: np.ndarray, ids: list[int], threshold: float) -> list[list[int]]:
    """Join pair by pair in float64."""
    rows = vectors.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    group = list(range(len(rows)))
    for one in range(len(rows)):
        for other in range(one):
            if rows[one] @ rows[other] >= threshold:
                old, new = group[one], group[other]
                group = [new if each == old else each for each in group]
    members: dict[int, list[int]] = {}
    for image, number in zip(ids, group, strict=True):
        members.setdefault(number, []).append(image)
    found = [sorted(each) for each in members.values() if len(each) > 1]
    return sorted(found, key=lambda each: (-len(each), each[0]))


@pytest.fixture
def changed(index, photo_folder, tmp_path):
    """Twenty more copies of one photograph, and three removed, in several segments."""
    photo = sorted(photo_folder.rglob("*.png"))[4]
    copies = [shutil.copy(photo, tmp_path / f"copy_{number}.png") for number in range(20)]
    index.add(copies[:9])
    index.add(copies[9:])
    index.remove(ids=[0, 11, 82])
    return index


@pytest.mark.parametrize("threshold", [-1.0, 0.2, 0.45, 0.6, 1.0])
def test_the_groups_are_those_of_a_loop_over_all_pairs(changed, threshold):
    ids = [number for number in range(100) if number not in (0, 11, 82)]
    vectors = np.stack([changed.vector(image) for image in ids])
    expected = _groups_of_a_loop(vectors, ids, threshold - 1e-6)
    assert [[hit.id for hit in group] for group in changed.duplicates(threshold)] == expected


def test_each_image_says_how_similar_the_nearest_other_of_its_group_is(changed):
    (group,) = changed.duplicates(0.999)
    assert [hit.id for hit in group] == [4, 80, 81, *range(83, 100)]
    assert [hit.score for hit in group] == pytest.approx([1.0] * 20)
    assert [hit.label for hit in group] == ["class_0"] + [None] * 19


@pytest.mark.parametrize("kind", ["hnsw", "int8"])
def test_an_approximate_index_finds_copies(pixel_model, photo_folder, tmp_path, kind):
    folder = shutil.copytree(photo_folder, tmp_path / "photos")
    photo = sorted(folder.rglob("*.png"))[30]
    for number in range(40):
        shutil.copy(photo, photo.with_name(f"copy_{number}.png"))
    index = build_index(pixel_model, open_collection(folder), tmp_path / "index", kind=kind)
    (group,) = index.duplicates(0.9999)
    assert len(group) == 41


def test_a_threshold_is_given_or_calibrated(index, calibrate):
    with pytest.raises(EmbeddingsError, match=r"is not calibrated, .*index calibrate .*--threshold"):
        index.duplicates()
    calibrate(index, 0.6)
    assert index.duplicates() == index.duplicates(0.6) != []
    with pytest.raises(ValueError, match="threshold must be a finite similarity, got nan"):
        index.duplicates(float("nan"))


def test_without_copies_there_are_no_groups(index):
    assert index.duplicates(0.9999) == []
    index.remove(ids=range(80))
    assert index.duplicates(0.1) == []


def test_the_command_prints_the_groups(changed, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main(["duplicates", str(changed.path), "--threshold", "0.999"])
    out = capsys.readouterr().out
    assert "group 1: 20 images" in out
    assert changed.search_by_id(80, k=1)[0].path in out
    assert out.splitlines()[-1] == "groups: 1, images in them: 20"
    main(["duplicates", str(changed.path), "--threshold", "0.999", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    assert [each["id"] for each in json.loads(line)["images"]] == [4, 80, 81, *range(83, 100)]


@pytest.mark.parametrize("threshold", ["nan", "inf", "much"])
def test_the_command_refuses_a_threshold_that_is_none(changed, capsys, threshold):
    with pytest.raises(SystemExit):
        main(["duplicates", str(changed.path), "--threshold", threshold])
    assert "--threshold" in capsys.readouterr().err


def test_a_threshold_that_no_similarity_reaches_is_told(index):
    with pytest.raises(EmbeddingsError, match=r"--threshold 1\.5: no two images can be that similar, .* is at most 1"):
        index.duplicates(1.5)
