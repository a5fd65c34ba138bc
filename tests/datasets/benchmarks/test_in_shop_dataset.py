from __future__ import annotations

import pytest

from metricforge.datasets import InShopDataset
from metricforge.errors import DatasetError
from metricforge.structures import Role


@pytest.fixture
def root(make_benchmark, tmp_path):
    return make_benchmark("inshop", tmp_path / "inshop")


def test_the_test_split_says_which_image_is_a_query_and_which_is_gallery(root):
    test = InShopDataset(root, "test", check_counts=False)
    assert test.class_names == ("id_00000004", "id_00000005", "id_00000006")
    assert test.roles.tolist() == [Role.QUERY, Role.GALLERY, Role.GALLERY, Role.GALLERY] * 3
    assert test.describe() == "In-Shop test: 12 images of 3 classes, 3 queries in a gallery of 9"


def test_the_train_split_has_no_roles(root):
    train = InShopDataset(root, "train", check_counts=False)
    assert train.roles is None
    assert train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert train[4]["image"].float().mean() == pytest.approx(70, abs=4)


def test_the_official_sub_folders_are_read_too(root):
    (root / "Eval").mkdir()
    (root / "Img").mkdir()
    (root / "list_eval_partition.txt").rename(root / "Eval" / "list_eval_partition.txt")
    (root / "img").rename(root / "Img" / "img")
    assert InShopDataset(root, "test", check_counts=False)[0]["image"].shape == (3, 24, 24)


def test_each_part_is_counted_and_what_is_missing_is_said(root):
    with pytest.raises(DatasetError, match=r"lists 12 images of 3 train classes; In-Shop has 25,882 of 3,997: 3,994 c"):
        InShopDataset(root, "train")
    with pytest.raises(DatasetError, match=r"lists 3 images of 3 query classes; In-Shop has 14,218 of 3,985"):
        InShopDataset(root, "test")


def test_what_is_absent_is_named_with_what_to_do(root, tmp_path):
    (root / "list_eval_partition.txt").unlink()
    with pytest.raises(DatasetError, match=r"(?s)lacks list_eval_partition\.txt.*metricforge data prepare inshop"):
        InShopDataset(root)
    with pytest.raises(DatasetError, match="which does not exist"):
        InShopDataset(tmp_path / "none")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("24\n", "25\n", r"lists 24 images and says 25 in line 1"),
        ("query", "quarry", r"line 15: expected a path, an item and train, query or gallery"),
        ("02_1_front.jpg    id_00000001", "02_0_front.jpg    id_00000001", r"line 4: lists .*02_0_front\.jpg a second"),
        ("image_name", "name", "expected a number and then the line 'image_name item_id evaluation_status'"),
    ],
)
def test_a_damaged_list_is_named(root, old, new, complaint):
    list_file = root / "list_eval_partition.txt"
    list_file.write_text(list_file.read_text().replace(old, new, 1))
    with pytest.raises(DatasetError, match=complaint):
        InShopDataset(root, check_counts=False)


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match="got 'query'"):
        InShopDataset(root, "query")
