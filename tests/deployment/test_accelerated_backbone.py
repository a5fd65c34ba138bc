from __future__ import annotations

import numpy as np
import pytest

from metricforge.deployment import load_model


@pytest.fixture
def photos(image_folder):
    return sorted(image_folder.rglob("*.png"))


def test_channels_last_changes_at_most_the_last_bits(trained_run, photos):
    model = load_model(trained_run, device="cpu")
    np.testing.assert_allclose(model.accelerated(channels_last=True).embed(photos), model.embed(photos), atol=1e-5)


def test_bfloat16_keeps_the_embeddings_to_its_own_digits(trained_run, photos):
    model = load_model(trained_run, device="cpu")
    fast = model.accelerated(precision="bfloat16")
    difference = np.abs(fast.embed(photos) - model.embed(photos)).max()
    assert 0 < difference < 0.05  # embeddings of length 1, 8 bits of mantissa
    assert fast.embed(photos).dtype == np.float32


def test_the_model_itself_stays_as_it_was(trained_run, photos):
    model = load_model(trained_run, device="cpu")
    before = model.embed(photos)
    fast = model.accelerated(precision="bfloat16", channels_last=True)
    fast.embed(photos)
    assert np.array_equal(model.embed(photos), before)
    assert fast.hash == model.hash == load_model(trained_run, device="cpu").hash


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_but_for_the_last_bits(trained_run, photos):
    model = load_model(trained_run, device="cpu")
    np.testing.assert_allclose(model.accelerated(compiled=True).embed(photos), model.embed(photos), atol=1e-5)


def test_another_precision_is_refused(trained_run):
    with pytest.raises(ValueError, match="precision must be one of float32, bfloat16, got 'int8'"):
        load_model(trained_run, device="cpu").accelerated(precision="int8")  # type: ignore[arg-type]
