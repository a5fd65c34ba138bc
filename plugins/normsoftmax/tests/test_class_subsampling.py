import math

import numpy as np
import pytest
import torch
from metricforge_normsoftmax import NormSoftmaxLoss
from metricforge_normsoftmax.class_sample import draw_classes
from PIL import Image

from metricforge import build_runner, step_touched_rows
from metricforge.testing import check_loss
from tests.cut_training import cut_after

OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


def batches(num_classes, dim, steps, batch=6):
    generator = torch.Generator().manual_seed(7)
    for _ in range(steps):
        labels = torch.randint(num_classes, (batch,), generator=generator)
        yield torch.randn(batch, dim, dtype=torch.float64, generator=generator), labels


def loss_of(class_ratio, num_classes=20, dim=5, temperature=0.3):
    torch.manual_seed(0)
    return NormSoftmaxLoss(num_classes, dim, temperature, class_ratio).double()


@pytest.mark.parametrize("class_ratio", [0.5, 1.0])
def test_the_contract_holds(class_ratio):
    check_loss(NormSoftmaxLoss(4, 8, class_ratio=class_ratio))


def test_the_loss_is_the_cross_entropy_over_the_drawn_classes_alone():
    loss = loss_of(0.4)
    embeddings, labels = next(batches(20, 5, 1))
    torch.manual_seed(3)
    total = loss(embeddings, labels).total.item()
    torch.manual_seed(3)
    drawn = draw_classes(labels, 20, 8).tolist()
    expected = 0.0
    for x, label in zip(embeddings.tolist(), labels.tolist(), strict=True):
        logits = {}
        for c in drawn:
            proxy = loss.proxies[c].tolist()
            product = sum(a * b for a, b in zip(x, proxy, strict=True))
            logits[c] = product / (math.hypot(*x) * math.hypot(*proxy)) / 0.3
        expected += math.log(sum(map(math.exp, logits.values()))) - logits[label]
    assert total == pytest.approx(expected / len(labels), rel=1e-10)


def test_the_gradient_is_that_of_the_drawn_rows_and_never_dense():
    loss = NormSoftmaxLoss(num_classes=1_000_000, dim=2, class_ratio=1e-5)
    labels = torch.tensor([999_999, 0, 0, 5])
    loss(torch.randn(4, 2), labels).total.backward()
    gradient = loss.proxies.grad
    assert gradient.is_sparse
    assert gradient._nnz() == 10
    assert {0, 5, 999_999} <= set(gradient.coalesce().indices()[0].tolist())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_at_ratio_1_it_trains_as_without_subsampling(name):
    dense, sampled = loss_of(None), loss_of(1.0)
    reference, optimizer = OPTIMIZERS[name](dense.parameters()), OPTIMIZERS[name](sampled.parameters())
    step_touched_rows(optimizer)
    for embeddings, labels in batches(20, 5, 25):
        totals = []
        for loss, one in ((dense, reference), (sampled, optimizer)):
            one.zero_grad()
            total = loss(embeddings, labels).total
            total.backward()
            one.step()
            totals.append(total.item())
        assert totals[1] == pytest.approx(totals[0], rel=1e-9)
    torch.testing.assert_close(sampled.proxies, dense.proxies, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_proxies_that_are_not_drawn_do_not_move_and_those_that_are_do(name):
    loss = loss_of(0.3)
    optimizer = step_touched_rows(OPTIMIZERS[name](loss.parameters()))
    for embeddings, labels in batches(20, 5, 15):
        before = loss.proxies.detach().clone()
        optimizer.zero_grad()
        loss(embeddings, labels).total.backward()
        drawn = loss.proxies.grad.coalesce().indices()[0]
        optimizer.step()
        moved = (loss.proxies.detach() != before).any(dim=1).nonzero()[:, 0]
        assert moved.tolist() == drawn.tolist()
        assert len(drawn) == max(6, len(labels.unique()))


def test_in_evaluation_mode_all_classes_count():
    sampled, dense = loss_of(0.3).eval(), loss_of(None)
    embeddings, labels = next(batches(20, 5, 1))
    assert sampled(embeddings, labels).total.item() == dense(embeddings, labels).total.item()


def test_weights_have_the_same_names_and_shapes_with_and_without_subsampling():
    assert loss_of(None).load_state_dict(loss_of(0.2).state_dict()).missing_keys == []


@pytest.mark.parametrize(
    ("num_classes", "class_ratio", "message"),
    [
        (100, 0.01, r"class_ratio \(0.01\) of 100 classes is 1, which leaves no negative class.*at least 0.02"),
        (3, 0.2, r"class_ratio \(0.2\) of 3 classes is 1.*at least 0.67"),
        (10, 0, "class_ratio must be a number > 0, got 0"),
        (10, 1.5, r"class_ratio must be in \(0, 1\], a share of all classes, got 1.5"),
        (10, float("nan"), "class_ratio must be a number > 0, got nan"),
    ],
)
def test_a_ratio_that_leaves_no_negative_class_and_one_out_of_range_are_refused(num_classes, class_ratio, message):
    with pytest.raises(ValueError, match=message):
        NormSoftmaxLoss(num_classes, 8, class_ratio=class_ratio)


@pytest.mark.parametrize("label", [20, -1, -100])
def test_a_label_out_of_range_is_named(label):
    embeddings, labels = next(batches(20, 5, 1))
    labels[2] = label
    with pytest.raises(ValueError, match=rf"label {label} is outside 0..19 \(num_classes=20\)"):
        loss_of(0.3)(embeddings, labels)


# ------------------------------------------------------------------ whole small runs


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for number in range(12):
        (root / f"class_{number:02}").mkdir()
        colour = generator.integers(40, 216, size=3)
        for image in range(4):
            pixels = np.clip(colour + generator.normal(0, 25, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / f"class_{number:02}" / f"{image}.png")

    def make(class_ratio, **changes):
        return dict(
            model=dict(
                backbone=dict(type="GlyphNet"),
                head=dict(type="EmbeddingHead", dim=8, layer_norm=True),
                similarity=dict(type="CosineSimilarity"),
                loss=dict(type="NormSoftmaxLoss", temperature=0.2, class_ratio=class_ratio),
            ),
            train_dataloader=dict(
                dataset=dict(type="ImageFolderDataset", root=str(root), split="train"),
                sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
            ),
            test_dataloader=dict(dataset=dict(type="ImageFolderDataset", root=str(root), split="test")),
            evaluators=[dict(type="RecallAtK", ks=[1])],
            optim_wrapper=dict(
                optimizer=dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=0.01),
                paramwise_cfg=dict(custom_keys={"proxies": dict(lr_mult=10)}),
                **changes,
            ),
            param_scheduler=[dict(type="MultiStepLR", milestones=[1], gamma=0.1, by_epoch=True)],
            train_cfg=dict(max_epochs=2, val_interval=0, log_interval=2),
            checkpoint=dict(interval_iterations=5, save_best=None),
        )

    return make


def train(config, folder, **arguments):
    runner = build_runner(config, work_dir=folder, device="cpu", **arguments)
    runner.train()
    return runner.model.state_dict()


@pytest.mark.parametrize("changes", [{}, dict(accumulative_counts=3), dict(clip_grad=dict(max_norm=0.5))])
def test_a_config_s_schedule_multiplier_decay_accumulation_and_clipping_apply_as_to_dense_proxies(
    config, tmp_path, changes
):
    dense = train(config(None, **changes), tmp_path / "dense")
    sampled = train(config(1.0, **changes), tmp_path / "sampled")
    assert dense.keys() == sampled.keys()
    for name, value in dense.items():
        torch.testing.assert_close(sampled[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")
    plain = config(1.0, **changes)
    plain["optim_wrapper"].pop("paramwise_cfg")  # the comparison above would see it
    assert not torch.allclose(train(plain, tmp_path / "plain")["loss.proxies"], dense["loss.proxies"], atol=1e-3)


@pytest.mark.parametrize(("accumulate", "optimizer"), [(1, "SGD"), (4, "SGD"), (1, "AdamW")])
def test_a_run_stopped_inside_an_epoch_resumes_bit_for_bit(config, tmp_path, accumulate, optimizer):
    cfg = config(0.5, accumulative_counts=accumulate)  # 4 leaves sparse gradients waiting at iteration 5
    if optimizer == "AdamW":
        cfg["optim_wrapper"]["optimizer"] = dict(type="AdamW", lr=0.01, weight_decay=0.1)
    whole = train(cfg, tmp_path / "whole")

    runner = build_runner(cfg, work_dir=tmp_path / "cut", device="cpu")
    cut_after(runner, 5)
    resumed = train(cfg, tmp_path / "cut", resume=True)
    torch.testing.assert_close(whole, resumed, rtol=0, atol=0)
