"""An image that cannot be read stops training with its path, unless it is to be skipped; then it is told of."""

from __future__ import annotations

import shutil

import pytest

from metricforge import build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.errors import ConfigError, DatasetError


@pytest.fixture
def broken_config(tiny_config, image_folder, tmp_path):
    """Two images of one training class are cut off."""
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    for name in ("1.png", "5.png"):
        file = root / "class_2" / name
        file.write_bytes(file.read_bytes()[:60])
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["root"] = str(root)
    return tiny_config


@pytest.mark.parametrize("workers", [0, 2])
def test_by_default_it_is_an_error_with_its_path(broken_config, tmp_path, workers):
    broken_config["train_dataloader"]["num_workers"] = workers
    with pytest.raises(DatasetError, match=r"class_2/[15]\.png cannot be read .*unreadable=\"skip\""):
        build_runner(broken_config, work_dir=tmp_path / "run", device="cpu").train()


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_counted_and_listed_at_the_end(broken_config, tmp_path, capsys, workers):
    broken_config["train_dataloader"] |= dict(num_workers=workers, unreadable="skip")
    runner = build_runner(broken_config, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    said = " ".join(capsys.readouterr().out.split())
    paths = [str(tmp_path / "images" / "class_2" / name) for name in ("1.png", "5.png")]
    assert "2 images could not be read and were skipped" in said
    assert all(path in said for path in paths)
    assert (tmp_path / "run" / "unreadable_images.txt").read_text().splitlines() == paths


def test_another_image_of_the_class_takes_its_place_so_that_batches_keep_their_classes(broken_config, tmp_path):
    broken_config["train_dataloader"]["unreadable"] = "skip"
    dataset = build_runner(broken_config, work_dir=tmp_path / "run", device="cpu")._train_dataloader.dataset
    broken = [i for i, file in enumerate(dataset.dataset.files) if file in ("class_2/1.png", "class_2/5.png")]
    drawn = [dataset[index, (7,)] for index in broken]
    assert [item["label"] for item in drawn] == [2, 2]
    assert [dataset.dataset.files[item["id"]] for item in drawn] == ["class_2/2.png", "class_2/0.png"]


def test_a_class_of_which_nothing_can_be_read_is_an_error(broken_config, tmp_path):
    for file in (tmp_path / "images" / "class_2").iterdir():
        file.write_bytes(b"no image")
    broken_config["train_dataloader"]["unreadable"] = "skip"
    with pytest.raises(DatasetError, match="none of the 6 images of class 'class_2' can be read"):
        build_runner(broken_config, work_dir=tmp_path / "run", device="cpu").train()


def test_an_unknown_choice_is_a_fault_of_the_config(tiny_config, tmp_path):
    tiny_config["train_dataloader"]["unreadable"] = "ignore"
    with pytest.raises(ConfigError, match=r"train_dataloader\.unreadable: 'ignore' must be \"error\" or \"skip\""):
        build_runner(tiny_config, work_dir=tmp_path, device="cpu")


def test_an_image_that_goes_while_training_is_skipped_like_any_other(tiny_config, image_folder, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(image_folder, root)
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["root"] = str(root)
    tiny_config["train_dataloader"]["unreadable"] = "skip"
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    (root / "class_2" / "1.png").unlink()
    runner.train()
    assert (tmp_path / "run" / "unreadable_images.txt").read_text().splitlines() == [str(root / "class_2" / "1.png")]
    again = build_runner(tiny_config, work_dir=tmp_path / "again", device="cpu")  # absent from the start on
    again.train()


def test_a_fingerprint_follows_paths_sizes_and_labels_and_the_bytes_on_request(image_folder, tmp_path):
    def taken(root, by_bytes=False):
        dataset = ImageFolderDataset(root, split="train")
        dataset.fingerprints_bytes = by_bytes
        return dataset.fingerprint()

    root = tmp_path / "images"
    shutil.copytree(image_folder, root)  # with other time stamps
    file = root / "class_2" / "1.png"
    assert taken(root) == taken(image_folder)
    assert taken(root, by_bytes=True) == taken(image_folder, by_bytes=True)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    assert taken(root) == taken(image_folder)
    assert taken(root, by_bytes=True) != taken(image_folder, by_bytes=True)
    file.write_bytes(content + b"x")
    assert taken(root) != taken(image_folder)
    file.write_bytes(content)
    (root / "class_0").rename(root / "class_a")
    assert taken(root) != taken(image_folder)
    (root / "class_a").rename(root / "class_0")
    file.rename(file.with_name("1a.png"))  # which keeps its place among the others
    assert taken(root) != taken(image_folder)
    file.with_name("1a.png").rename(file)
    assert taken(root) == taken(image_folder)
