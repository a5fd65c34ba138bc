from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from metricforge.datasets import ImageFolderDataset
from metricforge.errors import DatasetError
from metricforge.registry import DATASETS


def save(path: Path, grey: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (5, 4), grey).save(path)


@pytest.fixture
def root(tmp_path):
    """Classes a..e with two images each, one of them nested; and what must be skipped."""
    folder = tmp_path / "pets"
    for number, name in enumerate("edcba"):
        save(folder / name / "1.png", 10 * number)
        save(folder / name / "deep" / "er" / "0.JPG", 10 * number)
        (folder / name / "notes.txt").write_text("no image")
        save(folder / name / ".hidden" / "2.png")
    save(folder / "stray.png")
    save(folder / ".cache" / "1.png")
    return folder


def test_the_first_half_of_the_sorted_classes_trains_and_the_rest_tests(root):
    assert ImageFolderDataset(root, "train").class_names == ("a", "b")
    assert ImageFolderDataset(root, "test").class_names == ("c", "d", "e")
    assert ImageFolderDataset(root, "train", train_fraction=0.6).class_names == ("a", "b", "c")
    assert ImageFolderDataset(root, "all").class_names == ("a", "b", "c", "d", "e")


def test_labels_start_at_0_in_each_split_and_nested_images_count(root):
    dataset = ImageFolderDataset(root, "test")
    assert dataset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.files[:2] == ("c/1.png", "c/deep/er/0.JPG")
    assert dataset[0]["image"][0, 0, 0] == 20
    assert dataset.describe() == "pets test: 6 images of 3 classes"


def test_training_classes_can_be_listed(root, tmp_path):
    listed = ["e", "b"]
    file = tmp_path / "train.txt"
    file.write_text("e\n\n b \n")
    for train_classes in (listed, str(file), file):
        assert ImageFolderDataset(root, "train", train_classes=train_classes).class_names == ("b", "e")
        assert ImageFolderDataset(root, "test", train_classes=train_classes).class_names == ("a", "c", "d")


def test_a_listed_class_that_is_absent_is_named(root):
    with pytest.raises(DatasetError, match=r"lists 1 classes that .* does not have: zebra; it has a, b, c"):
        ImageFolderDataset(root, train_classes=["a", "zebra"])


def test_an_absent_list_file_is_named(root, tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere\.txt, which does not exist"):
        ImageFolderDataset(root, train_classes=tmp_path / "nowhere.txt")


def test_an_absent_root_says_where_it_looked_what_belongs_there_and_what_to_do(tmp_path):
    with pytest.raises(DatasetError) as error:
        ImageFolderDataset(tmp_path / "absent")
    message = str(error.value)
    assert str(tmp_path / "absent") in message
    assert "does not exist" in message
    assert "one sub-folder per class" in message
    assert "data_root=" in message


def test_a_relative_root_is_told_as_an_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=str(tmp_path / "data" / "pets")):
        ImageFolderDataset("data/pets")


def test_a_root_without_classes_is_refused(tmp_path):
    save(tmp_path / "1.png")
    with pytest.raises(DatasetError, match="has no sub-folder"):
        ImageFolderDataset(tmp_path)


def test_classes_without_images_are_left_out_and_named(root):
    (root / "empty" / "within").mkdir(parents=True)
    dataset = ImageFolderDataset(root, "all")
    assert dataset.class_names == ("a", "b", "c", "d", "e")
    assert "left out: 1 folders without an image: empty" in dataset.notes


def test_a_split_of_one_class_is_refused(root):
    with pytest.raises(DatasetError, match=r"train split of .* has 1 of its 5 classes"):
        ImageFolderDataset(root, train_fraction=0.2)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5])
def test_a_fraction_outside_0_to_1_is_refused(root, fraction):
    with pytest.raises(ValueError, match="train_fraction must be between 0 and 1"):
        ImageFolderDataset(root, train_fraction=fraction)


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="got 'dev'"):
        ImageFolderDataset(root, "dev")


@pytest.mark.parametrize("content", [b"", b"not an image", None])
def test_an_unreadable_image_is_named_with_its_path(root, content):
    file = root / "a" / "1.png"
    file.write_bytes(file.read_bytes()[:-30] if content is None else content)
    dataset = ImageFolderDataset(root)
    with pytest.raises(DatasetError, match=str(file)):
        dataset[0]


def test_the_fingerprint_changes_with_a_files_name_and_size(root):
    before = ImageFolderDataset(root).fingerprint()
    assert ImageFolderDataset(root).fingerprint() == before
    (root / "a" / "1.png").rename(root / "a" / "2.png")
    renamed = ImageFolderDataset(root).fingerprint()
    Image.new("RGB", (90, 70), (1, 2, 3)).save(root / "a" / "2.png")
    assert len({before, renamed, ImageFolderDataset(root).fingerprint()}) == 3


def test_a_config_builds_it(root):
    cfg = dict(type="ImageFolderDataset", root=str(root), split="test", transform=[dict(type="CenterCrop", size=3)])
    assert DATASETS.build(cfg)[0]["image"].shape == (3, 3, 3)


def test_folds_validate_every_training_class_once_and_leave_the_test_alone(tmp_path):
    for name in "abcdefgh":
        save(tmp_path / name / "1.png")
    seen = ""
    for fold in range(3):
        arguments = dict(train_fraction=0.75, folds=3, fold=fold)
        train, val, test = (ImageFolderDataset(tmp_path, s, **arguments) for s in ("train", "val", "test"))
        assert sorted(train.class_names + val.class_names) == list("abcdef")
        assert test.class_names == ("g", "h")
        seen += "".join(val.class_names)
    assert seen == "abcdef"
    with pytest.raises(ValueError, match='split "val" is one part'):
        ImageFolderDataset(tmp_path, "val")


def test_a_picture_that_was_taken_sideways_is_turned_upright(tmp_path):
    for name in "abcd":
        save(tmp_path / name / "1.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "a" / "0.jpg", exif=exif)
    assert ImageFolderDataset(tmp_path)[0]["image"].shape == (3, 8, 4)
