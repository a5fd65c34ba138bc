"""Folders as people have them: which level is a split, which a class, and what is left out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metricforge.datasets import ImageFolderDataset
from metricforge.datasets.folders.folder_options import FolderOptions
from metricforge.doctor import collection_of_folder
from metricforge.errors import DatasetError
from metricforge.structures import Role


def fill(root: Path, *files: str) -> Path:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), number, np.uint8)).save(root / file)
    return root


def classes_of_each(root: Path, **options) -> dict[str, tuple[str, ...]]:
    return {split: ImageFolderDataset(root, split, **options).class_names for split in ("train", "test")}


def grid(*levels: str) -> list[str]:
    """Every path through these levels, each a text of names: ``grid("train test", "1.png 2.png")``."""
    paths = [""]
    for level in levels:
        paths = [f"{path}/{name}" if path else name for path in paths for name in level.split()]
    return paths


@pytest.mark.parametrize(
    ("train", "second"),
    [("train", "test"), ("Train", "Test"), ("training", "testing"), ("train", "val"), ("train", "validation")],
)
def test_splits_with_classes_below_are_splits(tmp_path, train, second):
    fill(tmp_path, *grid(train, "a b", "1.png 2.png"), *grid(second, "c d", "1.png"))
    assert classes_of_each(tmp_path) == {"train": ("a", "b"), "test": ("c", "d")}
    dataset = ImageFolderDataset(tmp_path)
    assert dataset.files[0] == f"{train}/a/1.png"
    assert f"{train}/ (train)" in dataset.notes[0]
    assert "classes stand at level 2" in " ".join(dataset.notes)
    doctor = collection_of_folder(tmp_path)
    assert sorted(doctor.files) == sorted(ImageFolderDataset(tmp_path, "all").files)
    assert {doctor.split_of(i) for i in range(len(doctor))} == {"train", "val" if second.startswith("val") else "test"}
    assert tuple(doctor.notes) == dataset.notes


def test_three_splits_are_used_as_they_are(tmp_path):
    fill(tmp_path, *grid("train", "a b", "1.png"), *grid("val", "c d", "1.png"), *grid("test", "e f", "1.png"))
    assert ImageFolderDataset(tmp_path, "val").class_names == ("c", "d")
    assert classes_of_each(tmp_path) == {"train": ("a", "b"), "test": ("e", "f")}
    pooled = classes_of_each(tmp_path, train_fraction=0.5)
    assert pooled == {"train": ("a", "b", "c"), "test": ("d", "e", "f")}


def test_a_class_in_two_splits_is_refused_with_the_ways_out(tmp_path):
    fill(tmp_path, *grid("train test", "a b c d", "1.png 2.png"))
    with pytest.raises(DatasetError) as error:
        ImageFolderDataset(tmp_path)
    assert "4 of 4 classes" in str(error.value)
    assert "4 in train, 4 in test" in str(error.value)
    pooled = ImageFolderDataset(tmp_path, train_fraction=0.5)
    assert pooled.class_names == ("a", "b")
    assert pooled.labels.tolist() == [0] * 4 + [1] * 4
    assert classes_of_each(tmp_path, shared_classes=True) == {"train": tuple("abcd"), "test": tuple("abcd")}


@pytest.mark.parametrize("around", ["images", "train", "Pets/images"])
def test_a_folder_around_everything_is_no_class(tmp_path, around):
    fill(tmp_path, *grid(around, "a b c d", "1.png"))
    assert classes_of_each(tmp_path) == {"train": ("a", "b"), "test": ("c", "d")}
    assert f"everything lies in {around}/" in ImageFolderDataset(tmp_path).notes


def test_a_folder_within_each_class_or_split_says_nothing(tmp_path):
    fill(tmp_path / "1", *grid("n1 n2 n3 n4", "images", "1.png 2.png"))
    assert classes_of_each(tmp_path / "1") == {"train": ("n1", "n2"), "test": ("n3", "n4")}
    fill(tmp_path / "2", *grid("train", "images", "a b", "1.png"), *grid("test", "images", "c d", "1.png"))
    assert classes_of_each(tmp_path / "2") == {"train": ("a", "b"), "test": ("c", "d")}


def test_alphabets_of_characters_are_ambiguous_until_the_level_is_told(tmp_path):
    fill(tmp_path, *grid("greek latin", "1 2 3", "x.png y.png"))
    with pytest.raises(DatasetError) as error:
        ImageFolderDataset(tmp_path)
    assert "class_depth=1 gives 2 classes such as greek; class_depth=2 gives 6 classes such as greek/1" in str(
        error.value
    )
    characters = ImageFolderDataset(tmp_path, "all", class_depth=2)
    assert characters.class_names == ("greek/1", "greek/2", "greek/3", "latin/1", "latin/2", "latin/3")
    assert characters.group_names == ("greek", "latin")
    assert characters.groups.tolist() == [0] * 6 + [1] * 6
    alphabets = ImageFolderDataset(tmp_path, "all", class_depth=1)
    assert alphabets.class_names == ("greek", "latin")
    assert alphabets.groups is None
    with pytest.raises(DatasetError, match=r"class_depth=3, but no image lies that deep: class_depth=1 gives 2"):
        ImageFolderDataset(tmp_path, class_depth=3)
    with pytest.raises(DatasetError, match="class_depth=2 gives 6 classes"):
        collection_of_folder(tmp_path)
    assert len(collection_of_folder(tmp_path, FolderOptions(class_depth=2)).class_names) == 6


def test_coarse_and_fine_classes_below_splits(tmp_path):
    fill(tmp_path, *grid("train", "bird fish", "1 2", "x.png"), *grid("test", "bird cat", "3 4", "x.png"))
    with pytest.raises(DatasetError, match=r"class_depth=2 gives 3 classes .* class_depth=3 gives 8 classes"):
        ImageFolderDataset(tmp_path)
    fine = classes_of_each(tmp_path, class_depth=3)
    assert fine == {"train": ("bird/1", "bird/2", "fish/1", "fish/2"), "test": ("bird/3", "bird/4", "cat/3", "cat/4")}
    assert ImageFolderDataset(tmp_path, "test", class_depth=3).group_names == ("bird", "cat")
    with pytest.raises(DatasetError, match=r"1 of 3 classes .* in more than one split"):
        ImageFolderDataset(tmp_path, class_depth=2)


def test_folders_of_which_nobody_can_say_what_they_are_are_refused(tmp_path):
    fill(tmp_path / "1", *grid("train test cats dogs", "a b", "1.png"))
    with pytest.raises(DatasetError, match=r"splits \(test, train\) beside others \(cats, dogs\).*class_depth=1"):
        ImageFolderDataset(tmp_path / "1")
    assert ImageFolderDataset(tmp_path / "1", "all", class_depth=1).class_names == ("cats", "dogs", "test", "train")
    left = ImageFolderDataset(tmp_path / "1", "all", class_depth=2, shared_classes=True)
    assert left.class_names == ("a", "b")
    assert any("left out: 2 folders that are not splits: cats, dogs" in note for note in left.notes)
    fill(tmp_path / "2", *grid("images masks", "a.png b.png"))
    with pytest.raises(DatasetError, match=r"images/, masks/ beside 0 other folders .* class_depth=1"):
        ImageFolderDataset(tmp_path / "2")
    fill(tmp_path / "3", *grid("train test", "1.png 2.png"))
    with pytest.raises(DatasetError, match="images lie directly in test/, train/, with no folder that could be"):
        ImageFolderDataset(tmp_path / "3")


def test_classes_that_are_called_like_splits_are_classes_among_others(tmp_path):
    fill(tmp_path, *grid("bus car test train", "1.png 2.png"))
    assert classes_of_each(tmp_path) == {"train": ("bus", "car"), "test": ("test", "train")}


MARKET = r"(?P<label>-?\d+)_c(?P<camera>\d+)"


def test_market_1501_is_read_by_its_names(tmp_path):
    fill(
        tmp_path,
        "bounding_box_train/0002_c1s1_000451_03.jpg", "bounding_box_train/0002_c2s1_000452_01.jpg",
        "bounding_box_train/0007_c3s1_000453_01.jpg", "query/0001_c1s1_001051_00.jpg", "query/0003_c2s1_001052_00.jpg",
        "bounding_box_test/0001_c1s1_001053_00.jpg", "bounding_box_test/0001_c6s1_001054_00.jpg",
        "bounding_box_test/0003_c4s1_001055_00.jpg", "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0000_c1s1_000151_01.jpg", "gt_bbox/0001_c1s1_001051_00.jpg",
    )  # fmt: skip
    (tmp_path / "readme.txt").write_text("")
    arguments = dict(pattern=MARKET, ignore_labels=["-1"])
    train, test = (ImageFolderDataset(tmp_path, split, **arguments) for split in ("train", "test"))
    assert train.class_names == ("0002", "0007")
    assert [train.camera_names[camera] for camera in train.cameras] == ["1", "2", "3"]
    assert test.class_names == ("0000", "0001", "0003")
    roles = dict(zip(test.files, test.roles, strict=True))
    assert roles["query/0001_c1s1_001051_00.jpg"] == Role.QUERY
    assert roles["bounding_box_test/0000_c1s1_000151_01.jpg"] == Role.GALLERY
    notes = " ".join(test.notes)
    assert "1 images of the labels -1: bounding_box_test/-1_c1s1_000401_03.jpg" in notes
    assert "1 images in no folder of a split: gt_bbox/0001_c1s1_001051_00.jpg" in notes
    assert "1 files whose extension is not that of an image: readme.txt" in notes
    junk = ImageFolderDataset(tmp_path, "test", pattern=MARKET, ignore_labels=["-1", "0000"])
    assert junk.class_names == ("0001", "0003")


def test_names_that_the_pattern_does_not_fit_are_refused_or_left_out(tmp_path):
    fill(tmp_path, "1_c1.png", "1_c2.png", "2_c1.png", "3_c1.png", "4_c1.png", "cover.png")
    with pytest.raises(DatasetError, match=r"1 of 6 rows have no label \(rows 6, such as cover\.png\)"):
        ImageFolderDataset(tmp_path, pattern=MARKET)
    kept = ImageFolderDataset(tmp_path, "all", pattern=MARKET, drop_unlabelled=True)
    assert kept.labels.tolist() == [0, 0, 1, 2, 3]
    assert kept.notes == ("left out: 1 rows without a label: cover.png",)
    for arguments, complaint in (
        (dict(pattern=MARKET, class_depth=1), "both where the class is"),
        (dict(class_depth=0), "class_depth must be a whole number >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=complaint):
            ImageFolderDataset(tmp_path, **arguments)


READ = ("jfif", "avif", "jp2", "tga", "tif", "JPG", "jpe", "pnm", "bmp", "webp", "gif")


def test_formats_are_read_or_left_out_with_the_names(tmp_path):
    fill(tmp_path, *grid("a b c d", "1.png"))
    forms = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "jp2": "JPEG2000", "tif": "TIFF", "pnm": "PPM"}
    for number, suffix in enumerate(READ):
        image = Image.fromarray(np.full((9, 9, 3), 20 * number, np.uint8))
        image.save(tmp_path / "a" / f"x.{suffix}", forms.get(suffix, suffix.upper()))
    for name in ("x.heic", "x.jxl", "x.psd", "notes.txt", ".hidden.png", "Thumbs.db"):
        (tmp_path / "b" / name).write_bytes(b"")
    dataset = ImageFolderDataset(tmp_path, "all")
    found = [file for file in dataset.files if file.startswith("a/x")]
    assert sorted(found) == sorted(f"a/x.{suffix}" for suffix in READ)
    for index in range(len(dataset)):
        assert dataset[index]["image"].shape[0] == 3
    assert dataset.notes == (
        "left out: 2 files whose extension is not that of an image: b/Thumbs.db, b/notes.txt",
        "left out: 1 hidden files and folders: b/.hidden.png",
        "left out: 3 images of formats that are not read: b/x.heic, b/x.jxl, b/x.psd",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="names of bytes, named pipes")
def test_what_systems_leave_behind_is_left_out_and_told(tmp_path):
    root = fill(tmp_path / "pets", *grid("a b c d", "1.png"), "@eaDir/a/1.png", "__MACOSX/a/1.png", "lost+found/1.png")
    (root / "a" / "again").symlink_to(root)
    (root / "b" / "itself").symlink_to(root / "b" / "itself")
    (root / "c" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "d" / "linked").symlink_to(fill(tmp_path / "elsewhere", "2.png"))
    (root / "empty" / "deep").mkdir(parents=True)
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "device.png").symlink_to("/dev/zero")
    (Path(os.fsdecode(bytes(root) + b"/b/caf\xe9.png"))).write_bytes((root / "a" / "1.png").read_bytes())
    (root / "c" / "odd\x1b[1m\n.png").write_bytes((root / "a" / "1.png").read_bytes())
    dataset = ImageFolderDataset(root, "all")
    assert set(dataset.files) == {"a/1.png", "b/1.png", "c/1.png", "c/odd\x1b[1m\n.png", "d/1.png", "d/linked/2.png"}
    assert set(dataset.notes) == {
        "left out: 1 files whose extension is not that of an image: b/itself",
        "left out: 3 folders of the operating system: @eaDir, __MACOSX, lost+found",
        "left out: 1 links to a folder that they lie in: a/again",
        "left out: 1 folders without an image: empty",
        "left out: 3 pipes, devices and links to nothing called like images: a/device.png, a/pipe.png, c/gone.png",
        "left out: 1 names that are not UTF-8: b/caf\\xe9.png",
    }


def test_training_classes_that_are_set_aside_keep_their_cameras(tmp_path):
    fill(tmp_path, "1_c1.png", "1_c2.png", "2_c5.png", "2_c3.png", "3_c2.png", "4_c1.png")
    dataset = ImageFolderDataset(tmp_path, "all", pattern=MARKET)
    part = dataset.of_classes(np.array([False, True, True, False]), "val")
    assert part.files[:] == ("2_c3.png", "2_c5.png", "3_c2.png")
    assert [part.camera_names[camera] for camera in part.cameras] == ["3", "5", "2"]
    assert part.camera_names == ("2", "3", "5")
