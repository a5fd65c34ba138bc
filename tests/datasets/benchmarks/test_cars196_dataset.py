from __future__ import annotations

import pytest
import scipy.io

from metricforge.datasets import Cars196Dataset
from metricforge.errors import DatasetError

LAYOUTS = ["cars196", "cars196_devkit", "cars196_tree"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_halves_with_both_official_parts(make_benchmark, tmp_path, layout):
    root = make_benchmark(layout, tmp_path / "cars")
    train = Cars196Dataset(root, "train", check_counts=False)
    test = Cars196Dataset(root, "test", check_counts=False)
    assert [name[-1:] for name in train.class_names] == ["1", "8"]
    assert [name[-2:] for name in test.class_names] == ["99", "96"]
    assert train.labels.tolist() == test.labels.tolist() == [0] * 4 + [1] * 4
    for dataset, numbers in ((train, (1, 98)), (test, (99, 196))):
        for i, label in enumerate(dataset.labels):
            expected = max(numbers[label], 7)  # the noise of a colour near 0 is cut at 0
            assert dataset[i]["image"].float().mean() == pytest.approx(expected, abs=4)


def test_boxes_count_from_1_and_hold_their_last_pixel(make_benchmark, tmp_path):
    for layout in ("cars196", "cars196_devkit"):
        dataset = Cars196Dataset(make_benchmark(layout, tmp_path / layout), crop=True, check_counts=False)
        assert dataset.boxes[0].tolist() == [2, 1, 20, 17]
        assert dataset[0]["image"].shape == (3, 16, 18)


def test_a_tree_has_no_boxes(make_benchmark, tmp_path):
    root = make_benchmark("cars196_tree", tmp_path / "cars")
    with pytest.raises(DatasetError, match="knows no boxes; set crop=False"):
        Cars196Dataset(root, crop=True, check_counts=False)


def test_a_tree_without_numbers_is_numbered_by_name(tmp_path, make_benchmark):
    source = make_benchmark("cars196_tree", tmp_path / "cars") / "train" / "001.Car_1" / "1.jpg"
    for number in range(196):
        folder = tmp_path / "tree" / f"car {number:03d}"
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(source.read_bytes())
    test = Cars196Dataset(tmp_path / "tree", "test", check_counts=False)
    assert (test.num_classes, test.class_names[0]) == (98, "car 098")
    with pytest.raises(DatasetError, match=r"lists 98 images of 98 train classes; Cars196 has 8,054 of 98: 7,956 imag"):
        Cars196Dataset(tmp_path / "tree", "train")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_part_is_refused_and_what_is_missing_is_said(make_benchmark, tmp_path, layout):
    root = make_benchmark(layout, tmp_path / "cars")
    with pytest.raises(DatasetError, match=r"8 images of 2 train classes; .*8,054 of 98: 96 classes are missing and 8"):
        Cars196Dataset(root, "train")


def test_missing_images_are_named(make_benchmark, tmp_path, monkeypatch):
    root = make_benchmark("cars196", tmp_path / "cars")
    (root / "car_ims" / "000006.jpg").unlink()
    monkeypatch.setitem(Cars196Dataset.__init__.__globals__["COUNTS"], "train", (2, 8))
    with pytest.raises(DatasetError, match=r"1 of 8 images that cars_annos\.mat lists are missing .*000006\.jpg"):
        Cars196Dataset(root, "train")


def test_an_absent_folder_or_list_is_said_with_what_to_do(make_benchmark, tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)none, which does not exist.*metricforge data prepare cars196"):
        Cars196Dataset(tmp_path / "none")
    root = make_benchmark("cars196_devkit", tmp_path / "cars")
    (root / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(DatasetError, match=r"lacks devkit/|lacks cars_test_annos_withlabels\.mat"):
        Cars196Dataset(root)


def test_a_damaged_or_foreign_mat_file_is_named(make_benchmark, tmp_path):
    root = make_benchmark("cars196", tmp_path / "cars")
    scipy.io.savemat(root / "cars_annos.mat", {"other": [1]})
    with pytest.raises(DatasetError, match=r"cars_annos\.mat holds no annotations and no class_names"):
        Cars196Dataset(root)
    (root / "cars_annos.mat").write_bytes(b"MATLAB 5.0 MAT-file, or is it?" * 9)
    with pytest.raises(DatasetError, match=r"cars_annos\.mat cannot be read as a MATLAB file"):
        Cars196Dataset(root)


def test_an_unknown_split_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 'val'"):
        Cars196Dataset(tmp_path, "val")
