"""The split of which images of training classes are searched, with images of the others."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from metricforge import build_runner
from metricforge.datasets import ImageFolderDataset, TableDataset
from metricforge.errors import DatasetError
from metricforge.structures import Role


def names_of(dataset, role):
    return sorted({dataset.class_names[label] for label in dataset.labels[dataset.roles == role]})


def test_training_classes_are_the_gallery_and_the_others_the_queries(image_folder):
    dataset = ImageFolderDataset(image_folder, split="zero_shot", train_fraction=0.75)
    train, test = (ImageFolderDataset(image_folder, split=split, train_fraction=0.75) for split in ("train", "test"))
    assert names_of(dataset, Role.GALLERY) == list(train.class_names)
    assert names_of(dataset, Role.QUERY) == list(test.class_names)
    assert len(dataset) == len(train) + len(test)
    assert "12 queries in a gallery of 36" in dataset.describe()


def test_a_table_s_own_splits_say_it_and_junk_is_left_out(image_folder, tmp_path):
    files = sorted(file.relative_to(image_folder) for file in image_folder.rglob("*.png"))
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split", "role"])
        for path in files:
            number = int(path.parent.name[-1])
            split = "train" if number < 4 else "val" if number < 5 else "test"
            rows.writerow([path, path.parent.name, split, "junk" if path.stem == "5" and split == "test" else ""])
    dataset = TableDataset(tmp_path / "t.csv", root=image_folder, split="zero_shot")
    assert names_of(dataset, Role.GALLERY) == [f"class_{c}" for c in range(4)]
    assert names_of(dataset, Role.QUERY) == ["class_5", "class_6", "class_7"]
    assert (dataset.roles == Role.QUERY).sum() == 3 * 5


def test_without_an_unseen_class_there_is_nothing_to_search_with(image_folder):
    with pytest.raises(DatasetError, match="no image whose role is query"):
        ImageFolderDataset(image_folder, split="zero_shot", train_fraction=1, folds=2, fold=0)


def test_a_run_is_scored_zero_shot_by_a_tree(tiny_config, tmp_path):
    tree = tmp_path / "tree.csv"
    tree.write_text("child,parent\n" + "".join(f"class_{c},kind_{c % 2}\n" for c in range(8)) + "kind_0,r\nkind_1,r\n")
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["train_fraction"] = 0.5
    tiny_config["test_dataloader"]["dataset"]["split"] = "zero_shot"
    tiny_config["evaluators"] = [dict(type="ZeroShot", tree=str(tree), ks=[1, 2, 4])]
    tiny_config["checkpoint"] = dict(save_best=None)
    tiny_config["validation"] = None
    tiny_config["train_cfg"]["max_epochs"] = 1
    build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu").train()
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["scores"]
    values = [scores[f"zero_shot@{k}"] for k in (1, 2, 4)]
    assert values == sorted(values)
    assert values[-1] == 1.0  # there are four unseen classes
    assert np.isfinite(values).all()
