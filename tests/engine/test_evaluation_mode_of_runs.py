"""A model that a run hands out, or that is looked at while it trains, embeds as in evaluation."""

from __future__ import annotations

import pytest
import torch

from metricforge import build_runner
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files


def embeds_alone_as_in_a_batch(model) -> bool:
    """Whether ``model.embed`` gives an image the embedding it has beside others, and changes no buffer."""
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.no_grad():
        together = model.embed(images)
        alone = torch.cat([model.embed(image[None]) for image in images])
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    return torch.allclose(together, alone, atol=1e-5)


@pytest.fixture
def with_batch_norm(tiny_config):
    tiny_config["model"]["backbone"] = dict(type="TorchvisionBackbone", name="resnet18", pretrained=False)
    tiny_config["train_cfg"]["max_epochs"] = 1
    return tiny_config


def test_a_model_that_is_handed_out_embeds_an_image_alone_as_in_a_batch(with_batch_norm, tmp_path):
    runner = build_runner(with_batch_norm, work_dir=tmp_path, device="cpu")
    assert not runner.model.training
    assert embeds_alone_as_in_a_batch(runner.model)
    runner.train()
    assert not runner.model.training
    assert embeds_alone_as_in_a_batch(runner.model)
    tested = build_runner(with_batch_norm, checkpoint=tmp_path / "iter_6.pth", device="cpu")
    assert not tested.model.training
    assert embeds_alone_as_in_a_batch(tested.model)
    first = tested.test()
    assert not tested.model.training
    assert embeds_alone_as_in_a_batch(tested.model)
    assert tested.test() == first


def test_what_embeds_in_the_middle_of_an_epoch_leaves_the_weights_as_they_would_have_been(with_batch_norm, tmp_path):
    build_runner(with_batch_norm, work_dir=tmp_path / "plain", device="cpu").train()
    runner = build_runner(with_batch_norm, work_dir=tmp_path / "watched", device="cpu")
    original = runner.model.train_step

    def step_and_look(*args, **kwargs):
        outputs = original(*args, **kwargs)
        assert runner.model.training
        with torch.no_grad():
            runner.model.embed(torch.full((3, 3, 16, 16), 7, dtype=torch.uint8))
        runner.build_test_loop({}).score(runner.model)
        assert runner.model.training
        return outputs

    runner.model.train_step = step_and_look
    runner.train()
    plain, watched = (
        load_checkpoint(checkpoint_files(tmp_path / name)[0])["state_dict"] for name in ("plain", "watched")
    )
    assert plain.keys() == watched.keys()
    assert [name for name in plain if not torch.equal(plain[name], watched[name])] == []


def test_a_training_that_fails_leaves_the_model_in_evaluation_mode(with_batch_norm, tmp_path):
    runner = build_runner(with_batch_norm, work_dir=tmp_path, device="cpu")

    def fails(*args, **kwargs):
        raise KeyboardInterrupt

    runner.model.train_step = fails
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert not any(module.training for module in runner.model.modules())
