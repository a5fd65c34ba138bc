"""What a sampler that looks at embeddings is told, when, and that all processes are told the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metricforge import SAMPLERS, build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.hooks.embedding_bank_hook import EmbeddingBankHook
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import CheckpointError
from metricforge.run_records.checkpoint_files import checkpoint_files
from metricforge.samplers import EmbeddingBatchSampler
from metricforge.testing import run_in_processes


class ListeningBatchSampler(EmbeddingBatchSampler):
    """Draws the images in order, and notes all that it is told."""

    def __init__(self, labels, refresh_interval=2, *, seed=0, rank=0, world_size=1):
        super().__init__(labels, 8, seed=seed, rank=rank, world_size=world_size)
        self.refresh_interval = refresh_interval
        self.told = []

    def __len__(self):
        return len(self.labels) // 8

    def global_batches(self, generator):
        yield from np.arange(len(self) * 8).reshape(-1, 8)

    def refresh_is_due(self):
        return self.epoch % self.refresh_interval == 0

    def refresh(self, embeddings):
        self.told.append(("refresh", embeddings))

    def observe(self, indices, embeddings):
        self.told.append(("observe", indices, embeddings))

    def state_dict(self):
        return {"told": len(self.told)}

    def load_state_dict(self, state):
        if state["told"] == 0:
            raise ValueError("nothing was told")
        self.told.append(("load", state["told"]))


@pytest.fixture
def listening_config(tiny_config):
    SAMPLERS.register_module(module=ListeningBatchSampler)
    tiny_config["train_dataloader"]["sampler"] = dict(type="ListeningBatchSampler")
    yield tiny_config
    SAMPLERS.module_dict.pop("ListeningBatchSampler")


def sampler_of(runner):
    return runner.train_dataloader.batch_sampler.sampler


def test_each_second_epoch_begins_with_a_refresh_and_each_update_is_observed(listening_config, tmp_path):
    runner = build_runner(listening_config, work_dir=tmp_path, device="cpu")
    runner.train()
    told = sampler_of(runner).told
    assert [what for what, *_ in told] == (
        ["refresh"] + ["observe"] * 3 + ["observe"] * 3 + ["refresh"] + ["observe"] * 3
    )
    assert [indices.tolist() for what, indices, *_ in told if what == "observe"][:3] == [
        list(range(start, start + 8)) for start in (0, 8, 16)
    ]


def test_a_refresh_is_the_whole_training_set_as_a_test_would_embed_it(listening_config, image_folder, tmp_path):
    listening_config["train_cfg"]["max_epochs"] = 1
    runner = build_runner(listening_config, work_dir=tmp_path, device="cpu")
    sampler, seen = sampler_of(runner), {}
    train_set = ImageFolderDataset(image_folder, split="train", transform=[dict(type="CenterCrop", size=16)])
    centred = [train_set[i]["image"] for i in range(24)]

    def refresh(embeddings):
        seen["embeddings"] = embeddings
        seen["training"] = runner.model.training
        runner.model.eval()
        with torch.no_grad():
            seen["expected"] = torch.cat([runner.model.embed(image[None]) for image in centred])
        runner.model.train()

    sampler.refresh = refresh
    runner.train()
    assert seen["training"], "the mode it came in"
    assert seen["embeddings"].shape == (24, 8)
    torch.testing.assert_close(seen["embeddings"], seen["expected"])


def test_what_is_observed_is_what_the_loss_saw_without_gradient(listening_config, tmp_path):
    runner = build_runner(listening_config, work_dir=tmp_path, device="cpu")
    seen = []
    runner.model.loss.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].detach().clone()))
    runner.train()
    observed = [embeddings for what, *rest in sampler_of(runner).told if what == "observe" for embeddings in rest[1:]]
    assert len(observed) == len(seen) == 9
    assert all(torch.equal(a, b) and not a.requires_grad for a, b in zip(observed, seen, strict=True))


def test_a_checkpoint_holds_the_samplers_state_after_the_update(listening_config, tmp_path):
    listening_config["checkpoint"] = dict(interval_iterations=1, max_keep=9)
    build_runner(listening_config, work_dir=tmp_path, device="cpu").train()
    states = [load_checkpoint(path)["sampler"]["told"] for path in reversed(checkpoint_files(tmp_path))]
    assert states == [2, 3, 4, 5, 6, 7, 9, 10, 11]
    runner = build_runner(listening_config, work_dir=tmp_path, device="cpu", resume=True)
    runner.train()
    assert sampler_of(runner).told == [("load", 11)]


def test_evaluating_such_a_checkpoint_needs_no_sampler(listening_config, tmp_path):
    scores = build_runner(listening_config, work_dir=tmp_path, device="cpu")
    scores.train()
    listening_config.pop("train_dataloader")
    tested = build_runner(listening_config, checkpoint=tmp_path / "iter_9.pth", device="cpu").test()
    assert tested == scores.last_scores


def test_a_state_that_the_sampler_refuses_is_an_error_with_the_way_out(listening_config):
    hook = EmbeddingBankHook(ListeningBatchSampler(np.zeros(24, dtype=np.int64)), None)
    with pytest.raises(CheckpointError, match=r"does not fit ListeningBatchSampler: nothing was told; .*--work-dir"):
        hook.after_load_checkpoint(None, {"sampler": {"told": 0}})
    with pytest.raises(CheckpointError, match=r"no state of ListeningBatchSampler.*--work-dir"):
        hook.after_load_checkpoint(None, {})


def told(config, folder):
    SAMPLERS.register_module(module=ListeningBatchSampler)
    runner = build_runner(config, work_dir=folder, device="cpu")
    runner.train()
    return sampler_of(runner).told


def test_two_processes_are_told_the_same_and_what_one_is(tiny_config, tmp_path):
    tiny_config["model"] |= dict(backbone=dict(type="RawPixels", height=16, width=16))  # the same for any number
    tiny_config["model"]["head"] = dict(type="EmbeddingHead", dim=8)
    tiny_config["train_dataloader"]["sampler"] = dict(type="ListeningBatchSampler")
    tiny_config["train_cfg"] = dict(max_epochs=2, val_interval=0)
    tiny_config["test_dataloader"]["batch_size"] = 13  # shares of different size
    first, second = run_in_processes(told, 2, tiny_config, tmp_path / "two")
    alone = told(tiny_config, tmp_path / "one")
    SAMPLERS.module_dict.pop("ListeningBatchSampler")
    assert len(alone) == 7
    for one, of_first, of_second in zip(alone, first, second, strict=True):
        assert one[0] == of_first[0] == of_second[0]
        for tensor, its, others in zip(one[1:], of_first[1:], of_second[1:], strict=True):
            assert torch.equal(its, others)
            torch.testing.assert_close(its, tensor, rtol=1e-4, atol=1e-5)
