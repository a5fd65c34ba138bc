"""Proxies shared by two and three processes, against one process that holds them all, in float64."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
from metricforge_normsoftmax import NormSoftmaxLoss
from metricforge_normsoftmax.sharded_cross_entropy import ShardedCrossEntropy
from PIL import Image

from metricforge import build_runner, step_touched_rows
from metricforge.errors import ConfigError
from metricforge.testing import check_loss, run_in_processes
from tests.cut_training import cut_after

CLASSES, DIM, TEMPERATURE = 11, 5, 0.3  # 11 classes share unevenly
RATIOS = (None, 0.3, 1.0)


def batches(count=1):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        labels = torch.randint(CLASSES, (4,), generator=generator)
        yield 3 * torch.randn(4, DIM, dtype=torch.float64, generator=generator), labels


def loss_of(class_ratio, shard):
    torch.manual_seed(0)
    return NormSoftmaxLoss(CLASSES, DIM, TEMPERATURE, class_ratio, shard).double()


def measured(shard=True):
    """Of each class ratio: the total, the gradients of embeddings and proxies, and the proxies, before and after."""
    found = {}
    for ratio in RATIOS:
        loss = loss_of(ratio, shard)
        embeddings, labels = next(batches())
        embeddings.requires_grad_()
        before = loss.proxies.detach().clone()
        torch.manual_seed(2)
        total = loss(embeddings, labels).total
        total.backward()
        gradient = loss.proxies.grad.to_dense()
        optimizer = step_touched_rows(torch.optim.AdamW(loss.parameters(), lr=0.1, weight_decay=0.1))
        for number, (rows, labels) in enumerate(batches(6)):
            torch.manual_seed(number)
            optimizer.zero_grad()
            loss(rows, labels).total.backward()
            optimizer.step()
        logits = loss.predict(embeddings).detach()
        evaluated = loss.eval()(embeddings, labels).total.detach()
        found[ratio] = (total.detach(), embeddings.grad, logits, evaluated), (before, gradient, loss.proxies.detach())
    return found


@pytest.mark.parametrize("count", [2, 3])
def test_totals_logits_gradients_and_steps_are_those_of_one_process_with_all_proxies(count):
    expected, results = measured(shard=False), run_in_processes(measured, count)
    for ratio in RATIOS:
        common, rows = expected[ratio]
        for result in results:
            for found, wanted in zip(result[ratio][0], common, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-12)
        for place, wanted in enumerate(rows):
            shards = [result[ratio][1][place] for result in results]
            assert max(map(len, shards)) == -(-CLASSES // count)
            torch.testing.assert_close(torch.cat(shards), wanted, rtol=1e-9, atol=1e-11)


def awkward():
    rank = dist.get_rank()
    loss = NormSoftmaxLoss(4, 2, shard=True)
    huge = loss(torch.full((2, 2), 1e30), torch.tensor([0, 3])).total
    with pytest.raises(ValueError, match=r"label 4 is outside 0..3"):
        loss(torch.ones(1, 2), torch.tensor([4]))
    unowned = ShardedCrossEntropy.apply(torch.zeros(2, 2), torch.tensor([0 if rank else -1, -1]))
    with pytest.raises(ValueError, match="shard=True cannot share 2 classes among 3 processes; leave shard out"):
        NormSoftmaxLoss(2, 2, shard=True)
    return huge.item(), unowned.item()


def test_huge_embeddings_labels_out_of_range_and_too_few_classes():
    for huge, unowned in run_in_processes(awkward, 3):
        assert np.isfinite(huge)
        assert np.isnan(unowned), "a label that no process has never passes for a loss"


def test_alone_a_process_holds_all_proxies():
    check_loss(NormSoftmaxLoss(4, 8, shard=True))
    assert NormSoftmaxLoss(4, 8, shard=True).proxies.shape == (4, 8)


# ------------------------------------------------------------------ whole small runs


@pytest.fixture
def config(tmp_path):
    generator = np.random.default_rng(0)
    for number in range(14):
        folder = tmp_path / f"images/class_{number:02}"
        folder.mkdir(parents=True)
        colour = generator.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + generator.normal(0, 25, size=(4, 4, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    images = dict(type="ImageFolderDataset", root=str(tmp_path / "images"))
    return dict(
        model=dict(
            backbone=dict(type="RawPixels", height=4, width=4),
            head=dict(type="EmbeddingHead", dim=8),
            similarity=dict(type="CosineSimilarity"),
            loss=dict(type="NormSoftmaxLoss", temperature=0.2, class_ratio=0.5, shard=True),
        ),
        train_dataloader=dict(
            dataset=images | dict(split="train"), sampler=dict(type="RandomBatchSampler", batch_size=6)
        ),
        test_dataloader=dict(dataset=images | dict(split="test")),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=0.01, weight_decay=0.1), accumulative_counts=2),
        param_scheduler=[],
        train_cfg=dict(max_epochs=2, val_interval=0),
        checkpoint=dict(interval_iterations=3, save_best=None),
    )


def train(config, folder, stop_after=None, resume=False):
    runner = build_runner(config, work_dir=folder, device="cpu", resume=resume)
    if stop_after is None:
        runner.train()
    else:
        cut_after(runner, stop_after)
    return runner.model.loss.proxies.shape[0]


def checkpoint(folder, iteration):
    return torch.load(folder / f"iter_{iteration}.pth", weights_only=True)


@pytest.mark.slow
def test_a_run_of_two_is_taken_up_by_one_and_by_three_and_its_checkpoints_do_not_tell(config, tmp_path):
    assert train(config, tmp_path / "whole") == 7
    expected = checkpoint(tmp_path / "whole", 14)
    for count in (1, 3):
        folder = tmp_path / str(count)
        assert run_in_processes(train, 2, config, folder, 4) == [3, 4]
        cut = checkpoint(folder, 3)  # inside an accumulation, with sparse gradients waiting
        assert cut["state_dict"]["loss.proxies"].shape == cut["gradients"]["loss.proxies"].shape == (7, 8)
        if count == 1:
            train(config, folder, resume=True)
        else:
            assert run_in_processes(train, count, config, folder, None, True) == [2, 2, 3]
        found = checkpoint(folder, 14)
        assert found["state_dict"].keys() == expected["state_dict"].keys()
        for name, weight in expected["state_dict"].items():
            torch.testing.assert_close(found["state_dict"][name], weight, rtol=1e-3, atol=1e-5)
        for number, state in expected["optimizer"]["state"].items():
            for name, value in state.items():
                torch.testing.assert_close(found["optimizer"]["state"][number][name], value, rtol=1e-3, atol=1e-5)


def clipped(config, folder):
    config["optim_wrapper"]["clip_grad"] = dict(max_norm=1)
    with pytest.raises(ConfigError, match=r"optim_wrapper.clip_grad: .* of loss.proxies only; leave clip_grad out"):
        train(config, folder)


def test_clipping_by_a_norm_that_no_process_knows_is_refused(config, tmp_path):
    run_in_processes(clipped, 2, config, tmp_path / "run")
