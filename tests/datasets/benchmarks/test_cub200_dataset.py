from __future__ import annotations

import pytest
from PIL import Image

from metricforge.datasets import CUB200Dataset
from metricforge.errors import DatasetError


@pytest.fixture
def root(tmp_path):
    """The official layout with classes 1, 2, 100 and 101, 200, out of order, two images each."""
    folder = tmp_path / "CUB_200_2011"
    names = {200: "200.Wren", 1: "001.Albatross", 101: "101.Pelican", 2: "002.Auk", 100: "100.Pelican"}
    images, labels = [], []
    for number, name in names.items():
        (folder / "images" / name).mkdir(parents=True)
        for copy in (2, 1):
            images.append(f"{name}/bird_{copy}.jpg")
            labels.append(number)
            Image.new("RGB", (8, 6), (number, 0, 0)).save(folder / "images" / images[-1], quality=100)
    (folder / "images.txt").write_text("".join(f"{i} {file}\n" for i, file in enumerate(images, start=1)))
    (folder / "image_class_labels.txt").write_text("".join(f"{i} {n}\n" for i, n in enumerate(labels, start=1)))
    (folder / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in sorted(names.items())))
    return folder


def test_classes_1_to_100_train_and_101_to_200_test(root):
    train = CUB200Dataset(root, "train", check_counts=False)
    test = CUB200Dataset(root, "test", check_counts=False)
    assert train.class_names == ("001.Albatross", "002.Auk", "100.Pelican")
    assert test.class_names == ("101.Pelican", "200.Wren")
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert train.describe() == "CUB-200-2011 train: 6 images of 3 classes"


def test_each_image_comes_with_the_label_of_its_own_folder(root):
    test = CUB200Dataset(root, "test", check_counts=False)
    reds = [int(test[i]["image"][0].float().mean().round()) for i in range(4)]
    assert [test[i]["label"] for i in range(4)] == [0, 0, 1, 1]
    assert all(abs(red - number) <= 2 for red, number in zip(reds, [101, 101, 200, 200], strict=True))


def test_where_it_is_absent_one_error_says_where_it_looked_what_belongs_there_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError) as error:
        CUB200Dataset()
    message = str(error.value)
    assert f"{tmp_path / 'data' / 'CUB_200_2011'}, which does not exist" in message
    for part in ("images.txt", "image_class_labels.txt", "classes.txt", "CUB_200_2011.tgz", "tar xf", "--cfg-options"):
        assert part in message
    assert "https://www.vision.caltech.edu/datasets/cub_200_2011/" in message


def test_a_missing_part_is_named(root):
    (root / "classes.txt").unlink()
    with pytest.raises(DatasetError, match=r"which lacks classes\.txt"):
        CUB200Dataset(root, check_counts=False)


def test_a_part_of_the_data_is_refused_unless_asked_for(root):
    with pytest.raises(DatasetError, match=r"lists 6 images of 3 train classes; CUB-200-2011 has 5,864 of 100"):
        CUB200Dataset(root, "train")


def test_missing_images_are_named_at_once(tmp_path):
    (tmp_path / "images").mkdir()
    numbers = [1 + i % 100 for i in range(5864)]
    files = [f"{n:03d}.Bird/{i}.jpg" for i, n in enumerate(numbers)]
    (tmp_path / "images.txt").write_text("".join(f"{i} {file}\n" for i, file in enumerate(files)))
    (tmp_path / "image_class_labels.txt").write_text("".join(f"{i} {n}\n" for i, n in enumerate(numbers)))
    (tmp_path / "classes.txt").write_text("".join(f"{n} {n:03d}.Bird\n" for n in range(1, 201)))
    with pytest.raises(DatasetError, match=r"5,864 of 5,864 images .* are missing .*001\.Bird/0\.jpg"):
        CUB200Dataset(tmp_path)


def test_lists_that_do_not_belong_together_are_refused(root):
    lines = (root / "image_class_labels.txt").read_text().splitlines()
    (root / "image_class_labels.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(DatasetError, match=r"images\.txt lists 10 images, image_class_labels\.txt 9"):
        CUB200Dataset(root, check_counts=False)


def test_a_damaged_line_is_named_with_its_number(root):
    (root / "classes.txt").write_text("1 001.Albatross\nhello\n")
    with pytest.raises(DatasetError, match=r"classes\.txt, line 2: expected <number> <value>, got 'hello'"):
        CUB200Dataset(root, check_counts=False)


def test_boxes_crop_where_they_are_asked_for(root):
    lines = [f"{i} 2.0 1.0 {3 + i % 2}.0 4.0\n" for i in range(1, 11)]
    (root / "bounding_boxes.txt").write_text("".join(lines))
    cropped = CUB200Dataset(root, "train", crop=True, check_counts=False)
    assert {tuple(cropped[i]["image"].shape) for i in range(6)} == {(3, 4, 3), (3, 4, 4)}
    assert CUB200Dataset(root, "train", check_counts=False)[0]["image"].shape == (3, 6, 8)
    (root / "bounding_boxes.txt").write_text("".join(lines[1:]))
    with pytest.raises(DatasetError, match=r"has no box of .* images"):
        CUB200Dataset(root, "test", crop=True, check_counts=False)
    (root / "bounding_boxes.txt").write_text("".join(f"{i} 2 1 30 4\n" for i in range(1, 11)))
    with pytest.raises(DatasetError, match=r"is 8 x 6 pixels, and its box .* \(2, 1, 32, 5\) .* exceeds the image"):
        CUB200Dataset(root, "train", crop=True, check_counts=False)[0]


def test_a_second_label_of_an_image_is_refused(root):
    with (root / "image_class_labels.txt").open("a") as file:
        file.write("3 200\n")
    with pytest.raises(DatasetError, match=r"image_class_labels\.txt, line 11: lists 3 a second time"):
        CUB200Dataset(root, check_counts=False)


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="got 'all'"):
        CUB200Dataset(root, "all")


def test_an_image_under_two_numbers_is_refused(root):
    first, second, *rest = (root / "images.txt").read_text().splitlines()
    path = first.split()[1]
    (root / "images.txt").write_text("\n".join([first, f"{second.split()[0]} {path}", *rest]) + "\n")
    with pytest.raises(DatasetError, match=rf"images\.txt lists {path} a second time; unpack"):
        CUB200Dataset(root, "train", check_counts=False)
