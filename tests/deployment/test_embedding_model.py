from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from metricforge import build_runner
from metricforge.deployment import EmbeddingModel, load_model
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.errors import MetricForgeError, UnreadableImageError


@pytest.fixture
def model(trained_run: Path) -> EmbeddingModel:
    return load_model(trained_run, device="cpu")


@pytest.fixture
def photos(image_folder: Path) -> list[Path]:
    return sorted(image_folder.rglob("*.png"))[24:]


def test_embeddings_are_those_of_evaluation_to_the_last_bit(trained_run, image_folder, model):
    config = next(trained_run.glob("*.py"))
    runner = build_runner(config, checkpoint=trained_run / "best.pth", device="cpu", console=Console(quiet=True))
    dataset = runner.test_dataloader.dataset
    evaluated = embed_dataset(runner.model, runner.test_dataloader, torch.device("cpu"), processes=Processes())
    assert evaluated is not None
    found = model.embed([dataset.location(number) for number in range(len(dataset))])
    assert np.array_equal(found, evaluated.embeddings)


def test_alone_and_in_a_batch_an_image_has_the_same_embedding_but_for_the_last_bits(model, photos):
    together = model.embed(photos)
    alone = np.concatenate([model.embed(photo) for photo in photos])
    assert together.shape == (24, 8)
    assert together.dtype == np.float32
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_a_generator_is_never_held_whole(model, photos):
    taken = 0

    def endless():
        nonlocal taken
        for photo in photos * 1000:
            taken += 1
            yield photo

    batches = model.embed_batches(endless(), 4)
    next(batches)
    batches.close()
    assert taken <= 8


def test_images_of_several_sizes_and_modes_keep_their_order(trained_run, photos):
    cropping = load_model(trained_run, device="cpu")
    as_it_comes = replace(cropping.description, preprocessing=())
    model = EmbeddingModel(cropping.learner, as_it_comes, torch.device("cpu"), "here")
    images = [Image.open(photo) for photo in photos[:3]]
    mixed = [images[0], images[1].resize((40, 32)), images[2], images[1].resize((40, 32)).convert("L").convert("RGB")]
    found = model.embed(mixed)
    for number, image in enumerate(mixed):
        np.testing.assert_allclose(found[number], model.embed(image)[0], atol=1e-6)


def test_no_image_at_all_gives_no_rows(model):
    assert model.embed([]).shape == (0, 8)


def test_an_unreadable_image_is_named(model, photos, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:40])
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        model.embed([photos[0], broken])


def test_several_threads_get_what_one_gets(model, photos):
    expected = model.embed(photos)
    with ThreadPoolExecutor(4) as threads:
        for found in threads.map(lambda _: model.embed(photos), range(8)):
            assert np.array_equal(found, expected)


def test_embedding_changes_no_weight_and_no_statistic(model, photos):
    before = {name: tensor.clone() for name, tensor in model.learner.state_dict().items()}
    model.embed(photos)
    assert not model.learner.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.learner.state_dict().items())


def test_similarity_is_the_cosine_of_the_embeddings(model, photos):
    rows = model.embed(photos).astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(model.similarity(photos[:2], photos), rows[:2] @ rows.T, atol=1e-6)
    np.testing.assert_array_equal(
        model.similarity(model.embed(photos[:2]), model.embed(photos)), model.similarity(photos[:2], photos)
    )


def test_a_model_without_a_classifier_says_so(model, photos):
    assert not model.classifies
    with pytest.raises(MetricForgeError, match="cannot classify: it was trained with ProxyNCALoss"):
        model.classify(photos)


def test_a_loss_that_cannot_classify_is_no_part_of_the_model(model, trained_run):
    assert any(name.startswith("loss.") for name in load_checkpoint(trained_run / "best.pth")["state_dict"])
    assert "loss" not in model.description.architecture
    assert not any(name.startswith("loss.") for name in model.learner.state_dict())


def test_a_model_of_another_layer_than_its_classifier_s_says_so(model, photos):
    record = {"training": {"loss": "NormSoftmaxLoss"}, "choice": {"layer": "pooled feature"}}
    chosen = EmbeddingModel(model.learner, model.description, model.device, "here", record)
    with pytest.raises(MetricForgeError, match="its readout chose the pooled feature, not the head that was trained"):
        chosen.classify(photos)


def test_classify_names_the_class_of_the_nearest_proxy(trained_run, photos):
    pytest.importorskip("metricforge_normsoftmax")
    from metricforge_normsoftmax.norm_softmax_loss import NormSoftmaxLoss

    model = load_model(trained_run, device="cpu")
    loss = NormSoftmaxLoss(num_classes=4, dim=8, temperature=0.5)
    model.learner.loss = loss
    rows, proxies = model.embed(photos), loss.proxies.detach().numpy().astype(np.float64)
    cosines = rows @ proxies.T / np.linalg.norm(rows, axis=1)[:, None] / np.linalg.norm(proxies, axis=1)
    chances = np.exp(cosines / 0.5) / np.exp(cosines / 0.5).sum(axis=1, keepdims=True)
    for guesses, chance in zip(model.classify(photos, k=2), chances, strict=True):
        order = np.argsort(-chance)[:2]
        assert [guess.name for guess in guesses] == [f"class_{label}" for label in order]
        np.testing.assert_allclose([guess.probability for guess in guesses], chance[order], atol=1e-5)


@pytest.mark.parametrize("size", [0, -1, 1.5, True])
def test_a_batch_size_that_is_none_is_refused(model, photos, size):
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1"):
        model.embed(photos, batch_size=size)


def test_the_hash_follows_weights_and_preprocessing(trained_run):
    model, again = (load_model(trained_run, device="cpu") for _ in range(2))
    assert model.hash == again.hash
    squashing = replace(model.description, preprocessing=(dict(type="Resize", size=(16, 16)),))
    assert EmbeddingModel(model.learner, squashing, model.device, "here").hash != model.hash
    again = load_model(trained_run, device="cpu")
    with torch.no_grad():
        again.learner.head.linear.weight[0, 0] += 1
    assert again.hash != model.hash
