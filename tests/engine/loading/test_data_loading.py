"""Trap 4 of mmengine: epochs that repeat each other, and augmentations that depend on who drew them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from metricforge import build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading.data_loading import SeededBatches, SeededDataset, build_test_loader, build_train_loader
from metricforge.errors import ConfigError
from metricforge.samplers import ClassBalancedBatchSampler

CPU = torch.device("cpu")
CROP = [dict(type="RandomCrop", size=12)]


@pytest.fixture
def dataset(image_folder):
    return ImageFolderDataset(image_folder, split="train", transform=CROP)


def batches(dataset, epoch, *, first=0, workers=0, seed=1):
    sampler = ClassBalancedBatchSampler(dataset.labels, classes_per_batch=2, samples_per_class=2, seed=seed)
    loader = build_train_loader(dataset, sampler, seed=seed, num_workers=workers, device=CPU)
    loader.batch_sampler.set_position(epoch, first)
    return list(loader)


def test_an_epoch_repeats_to_the_pixel_with_any_number_of_workers(dataset):
    first, second = batches(dataset, 3), batches(dataset, 3, workers=2)
    assert len(first) == len(second) == 6
    assert all(
        torch.equal(a["id"], b["id"]) and torch.equal(a["image"], b["image"])
        for a, b in zip(first, second, strict=True)
    )


def test_epochs_and_seeds_differ_in_order_and_in_augmentation(dataset):
    base = batches(dataset, 0)
    for other in (batches(dataset, 1), batches(dataset, 0, seed=2)):
        assert [b["id"].tolist() for b in other] != [b["id"].tolist() for b in base]

    def crops(epoch):
        return {int(i): image for b in batches(dataset, epoch) for i, image in zip(b["id"], b["image"], strict=True)}

    one, two = crops(0), crops(1)
    assert any(not torch.equal(one[i], two[i]) for i in one.keys() & two.keys())


def test_taking_up_an_epoch_gives_the_rest_of_it_and_decodes_nothing_before(dataset, monkeypatch):
    whole = batches(dataset, 2)
    decoded = []
    read = dataset._read
    monkeypatch.setattr(dataset, "_read", lambda index: decoded.append(index) or read(index))
    rest = batches(dataset, 2, first=4)
    assert [b["id"].tolist() for b in rest] == [b["id"].tolist() for b in whole[4:]]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(rest, whole[4:], strict=True))
    assert len(decoded) == sum(len(b["id"]) for b in rest)


def test_the_same_image_twice_in_an_epoch_is_augmented_differently(dataset):
    sampler = ClassBalancedBatchSampler(dataset.labels, classes_per_batch=2, samples_per_class=2, batches_per_epoch=30)
    keys = SeededBatches(sampler, seed=0)
    seeds = [seed for batch in keys for _, seed in batch]
    assert len(set(seeds)) == len(seeds) == 120


def test_an_image_is_the_same_alone_and_in_a_batch(dataset):
    seeded = SeededDataset(dataset)
    keys = [(index, (1, 0, 3, index)) for index in (4, 0, 4)]
    for key, item in zip(keys, seeded.__getitems__(keys), strict=True):
        assert torch.equal(seeded[key]["image"], item["image"])
        assert item["id"] == key[0]


def test_the_test_loader_gives_every_image_once_in_order(dataset):
    loader = build_test_loader(dataset, batch_size=5, num_workers=0, device=CPU)
    assert torch.cat([batch["id"] for batch in loader]).tolist() == list(range(len(dataset)))


def test_training_decodes_fast_and_evaluation_fully_unless_told(tiny_config, tmp_path):
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    assert runner.train_dataloader.dataset.dataset.reduced_decoding
    assert not runner.test_dataloader.dataset.reduced_decoding
    tiny_config["train_dataloader"]["decode"] = "full"
    tiny_config["test_dataloader"]["decode"] = "fast"
    runner = build_runner(tiny_config, work_dir=tmp_path / "other", device="cpu")
    assert not runner.train_dataloader.dataset.dataset.reduced_decoding
    assert runner.test_dataloader.dataset.reduced_decoding


def test_an_unknown_way_of_decoding_is_a_fault_of_the_config(tiny_config, tmp_path):
    tiny_config["test_dataloader"]["decode"] = "quick"
    with pytest.raises(ConfigError, match=r"""test_dataloader.decode: 'quick' must be "full", "fast" or "device\""""):
        build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")


LEAVES_A_WORKER = """
import sys
import torch
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading import data_loading
data_loading.GRACE_SECONDS = 3600
images = ImageFolderDataset(sys.argv[1], split="train")
batches = iter(data_loading.build_test_loader(images, batch_size=2, num_workers=1, device=torch.device("cpu")))
next(batches)
sys.modules["batches"] = batches  # nothing collects it
"""


def test_a_process_that_ends_does_not_wait_for_a_worker_that_is_left(image_folder):
    command = [sys.executable, "-c", LEAVES_A_WORKER, str(image_folder)]
    assert subprocess.run(command, timeout=300).returncode == 0
