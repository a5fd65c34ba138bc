"""Each switch of an update changes what it says, and nothing else: scores and checkpoints stay those of float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from metricforge import build_runner
from metricforge.engine.loading.seeding import seed_all
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import ConfigError
from metricforge.run_records.checkpoint_files import checkpoint_files


@pytest.fixture
def config(tiny_config):
    return tiny_config | dict(train_cfg=dict(max_epochs=1, log_interval=2))


@pytest.fixture
def plain(config):
    """Draws no random numbers in an update, and steps by SGD at one rate: what an update does can be said by hand."""
    config["model"] = dict(
        backbone=dict(type="GlyphNet"), head=dict(type="EmbeddingHead", dim=8), loss=dict(type="MultiSimilarityLoss")
    )
    config |= dict(optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)), param_scheduler=[])
    return config


def train(config, folder, **options):
    runner = build_runner(config, work_dir=folder, device="cpu", **options)
    runner.train()
    return runner


def seen_by_convolutions(runner):
    """What convolutions take and give in training, and in evaluation, while ``runner`` trains."""
    seen = {True: [], False: []}

    def note(module, inputs, output):
        seen[module.training].append((inputs[0].detach(), output.detach()))

    for module in runner.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(note)
    runner.train()
    return seen


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_updates_compute_in_half_precision_and_all_else_in_float32(config, tmp_path, precision, dtype):
    config["train_cfg"]["precision"] = precision
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    seen = seen_by_convolutions(runner)
    assert {output.dtype for _, output in seen[True]} == {dtype}
    assert {output.dtype for _, output in seen[False]} == {torch.float32}
    assert runner.model.last_embeddings.dtype == torch.float32
    state = load_checkpoint(checkpoint_files(tmp_path)[0])["state_dict"]
    assert {value.dtype for value in state.values()} == {torch.float32, torch.int64}  # batches that BatchNorm saw
    assert build_runner(config, checkpoint=checkpoint_files(tmp_path)[0], device="cpu").test() == runner.last_scores


@pytest.mark.parametrize(
    "switches", [dict(precision="bf16"), dict(precision="fp16"), dict(channels_last=True, precision="bf16", chunk=2)]
)
def test_a_resumed_run_has_the_weights_of_one_that_was_not_stopped(config, tmp_path, switches):
    config["train_cfg"] |= switches | (dict(batch_norm_per_chunk=True) if "chunk" in switches else {})
    config |= dict(checkpoint=dict(interval_iterations=4))
    config["optim_wrapper"] |= dict(clip_grad=dict(max_norm=0.1), accumulative_counts=3)
    train(config, tmp_path)
    expected = load_checkpoint(tmp_path / "iter_6.pth")
    (tmp_path / "iter_6.pth").unlink()
    train(config, tmp_path, resume=True)
    found = load_checkpoint(tmp_path / "iter_6.pth")
    assert all(torch.equal(value, found["state_dict"][name]) for name, value in expected["state_dict"].items())
    assert found["optimizer"].get("loss_scaler") == expected["optimizer"].get("loss_scaler")
    assert ("loss_scaler" in found["optimizer"]) == (switches.get("precision") == "fp16")


def test_channels_are_innermost_in_updates_alone(config, tmp_path):
    config["train_cfg"]["channels_last"] = True
    runner = build_runner(config, work_dir=tmp_path, device="cpu")
    seen = seen_by_convolutions(runner)
    assert all(output.is_contiguous(memory_format=torch.channels_last) for _, output in seen[True])
    assert all(output.is_contiguous() for _, output in seen[False])
    assert all(parameter.is_contiguous() for parameter in runner.model.parameters())
    assert build_runner(config, checkpoint=tmp_path / "iter_6.pth", device="cpu").test() == runner.last_scores


def test_channels_last_gives_the_weights_of_channels_first(plain, tmp_path):
    one = train(plain, tmp_path / "first").model.state_dict()
    plain["train_cfg"]["channels_last"] = True
    other = train(plain, tmp_path / "last").model.state_dict()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)


def test_the_compiled_backbone_embeds_in_training_and_not_in_evaluation(config, tmp_path, monkeypatch):
    calls = []

    def compiled(forward):
        def call(images):
            calls.append(torch.is_grad_enabled())
            return forward(images)

        return call

    monkeypatch.setattr(torch, "compile", compiled)
    config["train_cfg"]["compile"] = True
    runner = train(config, tmp_path)
    assert calls == [True] * 6
    assert set(runner.model.state_dict()) == set(load_checkpoint(tmp_path / "iter_6.pth")["state_dict"])
    runner.test()
    assert len(calls) == 6


@pytest.mark.slow
def test_compiled_updates_give_the_weights_of_others(plain, tmp_path):
    one = train(plain, tmp_path / "eager").model.state_dict()
    plain["train_cfg"]["compile"] = True
    other = train(plain, tmp_path / "compiled").model.state_dict()
    assert list(one) == list(other)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)


def gradients_of_batches(runner):
    """The gradients of the first epoch's batches at the initial weights, each by itself."""
    model = copy.deepcopy(runner.model).train()
    runner.train_dataloader.batch_sampler.set_position(0, 0)
    found = []
    for batch in runner.train_dataloader:
        seed_all(0)
        model.zero_grad()
        model(batch["image"], batch["label"]).total.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()})
    return found


def test_accumulation_steps_by_the_mean_gradient_of_the_batches(plain, tmp_path):
    plain["optim_wrapper"]["accumulative_counts"] = 6
    runner = build_runner(plain, work_dir=tmp_path, device="cpu")
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    gradients = gradients_of_batches(runner)
    runner.train()
    for name, parameter in runner.model.named_parameters():
        mean = torch.stack([each[name] for each in gradients]).mean(dim=0)
        torch.testing.assert_close(parameter.detach(), before[name] - 0.1 * mean, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_clipping_bounds_the_gradient_that_steps(plain, tmp_path, precision):
    plain["optim_wrapper"] |= dict(clip_grad=dict(max_norm=0.01), accumulative_counts=6)  # one step
    plain["train_cfg"]["precision"] = precision
    runner = build_runner(plain, work_dir=tmp_path, device="cpu")
    before = nn.utils.parameters_to_vector(runner.model.parameters()).detach()
    runner.train()
    moved = (nn.utils.parameters_to_vector(runner.model.parameters()).detach() - before).norm()
    assert float(moved) == pytest.approx(0.1 * 0.01, rel=1e-2), "the learning rate times the norm"


def test_the_moving_average_is_that_of_the_weights_after_each_update(plain, tmp_path):
    plain |= dict(custom_hooks=[dict(type="EMAHook", momentum=0.25)])
    runner = build_runner(plain, work_dir=tmp_path, device="cpu")
    seen = []
    original = runner.model.train_step

    def step(*args, **kwargs):
        output = original(*args, **kwargs)
        seen.append(nn.utils.parameters_to_vector(runner.model.parameters()).detach())
        return output

    runner.model.train_step = step
    runner.train()
    expected = seen[0]
    for weights in seen[1:]:
        expected = 0.75 * expected + 0.25 * weights
    state = load_checkpoint(tmp_path / "iter_6.pth")["state_dict"]
    found = torch.cat([state[name].reshape(-1) for name, _ in runner.model.named_parameters()])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        (dict(precision="bf17"), r"train_cfg.precision: 'bf17' must be 'fp32', 'bf16' or 'fp16'"),
        (dict(channels_last="yes"), r"train_cfg.channels_last: 'yes' must be True or False"),
        (dict(compile=3), r"train_cfg.compile: 3 must be True or False"),
    ],
)
def test_values_that_are_no_setting_of_a_switch_are_refused(config, tmp_path, switches, message):
    config["train_cfg"] |= switches
    with pytest.raises(ConfigError, match=message):
        build_runner(config, work_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(clip_grad=dict(max_norm=0)), r"optim_wrapper.clip_grad.max_norm: 0 must be a number > 0"),
        (dict(clip_grad=dict(max_norm=-1.0)), r"optim_wrapper.clip_grad.max_norm: -1.0 must be a number > 0"),
        (dict(clip_grad=dict(type="value", clip_value=0.0)), r"optim_wrapper.clip_grad.clip_value: 0.0 must be"),
    ],
)
def test_clipping_that_leaves_no_gradient_is_refused(config, tmp_path, changes, message):
    config["optim_wrapper"] = config["optim_wrapper"] | changes
    with pytest.raises(ConfigError, match=message):
        build_runner(config, work_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("begin", "loop", "message"),
    [
        (dict(begin_epoch=2), {}, r"custom_hooks\[0\].begin_epoch: 2 is after the last of 1 epochs"),
        (dict(begin_iter=1000), {}, r"EMAHook.begin_iter: 1000 is after the last of \d+ updates"),
        (dict(begin_epoch=1), dict(max_minutes=5), r"custom_hooks\[0\].begin_epoch: 1 may never come"),
    ],
)
def test_an_average_that_never_begins_is_refused(config, tmp_path, begin, loop, message):
    config["train_cfg"] |= loop
    config["custom_hooks"] = [dict(type="EMAHook", **begin)]
    with pytest.raises(ConfigError, match=message):
        build_runner(config, work_dir=tmp_path, device="cpu")


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (dict(chunk=10**6), "train_cfg.chunk: 1000000 is no smaller than the batch"),
        (dict(chunk=0), "train_cfg.chunk"),
        (dict(batch_norm_per_chunk=True), "train_cfg.batch_norm_per_chunk: there are no chunks"),
        (
            dict(chunk=2, batch_norm_per_chunk=True, sync_batch_norm=True),
            "train_cfg.sync_batch_norm: with train_cfg.ch",
        ),
    ],
)
def test_chunks_that_cannot_be_are_refused_before_a_run_has_a_folder(config, tmp_path, loop, message):
    config["train_cfg"] |= loop
    with pytest.raises(ConfigError, match=message):
        build_runner(config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_precision_and_a_wrapper_with_one_of_its_own_are_refused(config, tmp_path):
    config["train_cfg"]["precision"] = "bf16"
    config["optim_wrapper"]["type"] = "AutocastOptimWrapper"
    with pytest.raises(ConfigError, match=r"train_cfg.precision: 'bf16' is for optim_wrapper.type='OptimWrapper'"):
        build_runner(config, work_dir=tmp_path, device="cpu")


def test_a_wrapper_that_needs_a_gpu_is_refused_on_the_cpu(config, tmp_path):
    config["optim_wrapper"]["type"] = "AmpOptimWrapper"
    with pytest.raises(ConfigError, match=r"optim_wrapper.type: AmpOptimWrapper needs a GPU; .*precision='bf16'"):
        build_runner(config, work_dir=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("switch", ["channels_last", "compile"])
def test_a_switch_without_effect_is_refused_before_training(config, tmp_path, switch):
    config["model"]["backbone"] = dict(type="RawPixels", height=16, width=16)
    config["train_cfg"][switch] = True
    with pytest.raises(ConfigError, match=rf"train_cfg.{switch}: RawPixels has no"):
        train(config, tmp_path)


def test_compiling_without_a_compiler_is_refused_before_training(config, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    config["train_cfg"]["compile"] = True
    with pytest.raises(ConfigError, match=r"train_cfg.compile: on the CPU torch needs a C\+\+ compiler"):
        train(config, tmp_path)
