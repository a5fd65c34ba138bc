from __future__ import annotations

import pytest

from metricforge.datasets import StanfordOnlineProductsDataset
from metricforge.errors import DatasetError


@pytest.fixture
def root(make_benchmark, tmp_path):
    return make_benchmark("sop", tmp_path / "Stanford_Online_Products")


def test_the_two_lists_are_the_two_halves(root):
    train = StanfordOnlineProductsDataset(root, "train", check_counts=False)
    test = StanfordOnlineProductsDataset(root, "test", check_counts=False)
    assert train.class_names == ("product 1", "product 2", "product 3")
    assert test.class_names == ("product 11", "product 12", "product 13")
    assert test.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert test.files[4] == "bicycle_final/1012_0.JPG"
    assert test[5]["image"].float().mean() == pytest.approx(180, abs=4)


def test_its_groups_are_the_kinds_of_product(root):
    test = StanfordOnlineProductsDataset(root, "test", check_counts=False)
    assert test.group_names == ("bicycle", "cabinet")
    assert test.groups.tolist() == [1] * 4 + [0] * 8


def test_a_part_is_refused_and_what_is_missing_is_said(root):
    with pytest.raises(DatasetError, match=r"60,502 of 11,316: 11,313 classes are missing and 60,490 images are miss"):
        StanfordOnlineProductsDataset(root, "test")


def test_a_missing_list_is_said_with_what_to_do(root, tmp_path):
    (root / "Ebay_test.txt").unlink()
    with pytest.raises(DatasetError, match=r"(?s)which lacks Ebay_test\.txt.*metricforge data prepare sop"):
        StanfordOnlineProductsDataset(root, "test")
    with pytest.raises(DatasetError, match="which does not exist"):
        StanfordOnlineProductsDataset(tmp_path / "none")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("13 14 x bicycle_final/1.JPG", "line 14: expected three numbers and a path"),
        ("13 14 1 cabinet_final/1011_0.JPG", r"line 14: lists cabinet_final/1011_0\.JPG a second time"),
    ],
)
def test_a_damaged_list_is_named_with_its_line(root, line, complaint):
    with (root / "Ebay_test.txt").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DatasetError, match=complaint):
        StanfordOnlineProductsDataset(root, "test", check_counts=False)


def test_a_list_with_another_header_is_refused(root):
    (root / "Ebay_train.txt").write_text("hello\n")
    with pytest.raises(DatasetError, match="line 1: expected 'image_id class_id super_class_id path', got 'hello'"):
        StanfordOnlineProductsDataset(root)


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="got 'all'"):
        StanfordOnlineProductsDataset(root, "all")
