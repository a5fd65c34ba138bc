"""Small real runs with difficult neighbours: a resumed one equals an uninterrupted one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metricforge import MetricForgeError, build_runner


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory):
    """Ten classes of six 20 x 20 images: a colour a class, with noise."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(10):
        folder = root / f"class_{number}"
        folder.mkdir()
        colour = rng.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + rng.normal(0, 25, size=(20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


@pytest.fixture
def config(image_folder):
    """Three epochs of five batches, the bank refreshed at the first and the third; random wherever one can be."""

    def dataset(split, transform):
        return dict(type="ImageFolderDataset", root=str(image_folder), split=split, transform=transform)

    augment = [dict(type="RandomCrop", size=16), dict(type="RandomHorizontalFlip")]
    return dict(
        model=dict(
            backbone=dict(type="GlyphNet"),
            head=dict(type="EmbeddingHead", dim=8, dropout=0.3, l2_normalize=False),
            similarity=dict(type="EuclideanSimilarity"),
            miner=dict(type="LiftedStructureMiner", negatives="as_many_as_positives"),
            loss=dict(type="LiftedStructureLoss"),
        ),
        train_dataloader=dict(
            dataset=dataset("train", augment),
            sampler=dict(
                type="DifficultNeighbourBatchSampler", pairs_per_batch=3, refresh_interval=2, batches_per_epoch=5
            ),
        ),
        test_dataloader=dict(dataset=dataset("test", [dict(type="CenterCrop", size=16)]), batch_size=7),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        train_cfg=dict(max_epochs=3, log_interval=2),
        checkpoint=dict(interval_iterations=2),
        seed=3,
    )


def train(config, folder, cut_after=None, **arguments):
    """Trains and returns the ids of each batch; ``cut_after`` so many updates the run is interrupted."""
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    trained = []
    step = runner.model.train_step

    def interruptible_step(*args, **kwargs):
        if len(trained) == cut_after:
            raise KeyboardInterrupt
        return step(*args, **kwargs)

    runner.model.train_step = interruptible_step
    add = runner.losses.add
    runner.losses.add = lambda epoch, number, ids, losses: (
        trained.append(ids.tolist()) or add(epoch, number, ids, losses)
    )
    if cut_after is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return trained


def final_state(folder: Path):
    newest = max(folder.glob("iter_*.pth"), key=lambda path: int(path.stem[5:]))
    return torch.load(newest, weights_only=True)


def assert_same_run(a: Path, b: Path) -> None:
    first, second = final_state(a), final_state(b)
    assert first["meta"]["iteration"] == second["meta"]["iteration"] == 15
    for part in ("state_dict", "sampler"):
        assert first[part].keys() == second[part].keys()
        for name, value in first[part].items():
            other = second[part][name]
            assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, (part, name)


# within an epoch that the bank began, within one that passed batches made, and on the border of a refresh
@pytest.mark.parametrize("cut_after", [3, 9, 10])
def test_a_run_stopped_anywhere_resumes_bit_for_bit(config, tmp_path, cut_after):
    whole = train(config, tmp_path / "whole")
    assert len(whole) == 15
    assert train(config, tmp_path / "cut", cut_after) == whole[:cut_after]
    kept = cut_after - cut_after % 2 if cut_after % 5 else cut_after  # a checkpoint every second update and epoch
    assert train(config, tmp_path / "cut", resume=True) == whole[kept:]
    assert_same_run(tmp_path / "whole", tmp_path / "cut")


def test_workers_that_draw_ahead_do_not_change_what_is_trained(config, tmp_path):
    alone = train(config, tmp_path / "none")
    config["train_dataloader"]["num_workers"] = 2
    assert train(config, tmp_path / "two") == alone
    assert_same_run(tmp_path / "none", tmp_path / "two")


def test_batches_that_pass_change_the_next_epochs_neighbours(config, tmp_path):
    """Epoch 2 begins without a refresh: with the passing batches left out, its neighbours are others."""
    whole = train(config, tmp_path / "told")
    runner = build_runner(config, work_dir=tmp_path / "untold", device="cpu")
    sampler = runner.train_dataloader.batch_sampler.sampler
    sampler.observe = lambda indices, embeddings: None
    batches = []
    add = runner.losses.add
    runner.losses.add = lambda epoch, number, ids, losses: (
        batches.append(ids.tolist()) or add(epoch, number, ids, losses)
    )
    runner.train()
    assert batches[:5] == whole[:5]
    assert [batch[:2] for batch in batches[5:10]] == [batch[:2] for batch in whole[5:10]], "the random pairs"
    assert batches[5:10] != whole[5:10]


def test_a_run_with_another_number_of_pairs_is_not_resumed(config, tmp_path):
    train(config, tmp_path, cut_after=4)
    config["train_dataloader"]["sampler"]["pairs_per_batch"] = 2
    with pytest.raises(MetricForgeError, match=r"5 batches of 12 images .* this sampler 5 of 8.*another --work-dir"):
        train(config, tmp_path, resume=True, allow_changes=True)


def test_a_run_with_another_sampler_is_not_resumed_with_this_one(config, tmp_path):
    ours = config["train_dataloader"]["sampler"]
    config["train_dataloader"]["sampler"] = dict(
        type="ClassBalancedBatchSampler", classes_per_batch=3, samples_per_class=4, batches_per_epoch=5
    )
    train(config, tmp_path, cut_after=4)
    config["train_dataloader"]["sampler"] = ours
    with pytest.raises(MetricForgeError, match="no state of DifficultNeighbourBatchSampler"):
        train(config, tmp_path, resume=True, allow_changes=True)
