"""Whatever is wrong with a file of weights is one error that names it."""

from __future__ import annotations

import random

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from metricforge.backbones.weights_file import load_weights_file
from metricforge.errors import CheckpointError

FORMATS = ("zip.pth", "old.pth", "weights.safetensors")


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))


@pytest.fixture(params=FORMATS)
def weights(request, tmp_path):
    path, state = tmp_path / request.param, network().state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=request.param == "zip.pth")
    return path


def faults_of_damaged(path, seed: int, count: int) -> int:
    """How many of ``count`` damaged versions of ``path`` were refused; the others loaded into the network."""
    content, rng = path.read_bytes(), random.Random(seed)
    refused = 0
    for number in range(count):
        changed = bytearray(content)
        if number % 3 == 0:
            changed = changed[: rng.randrange(len(content))]
        for place in rng.choices(range(len(content)), k=rng.randint(1, 6)) if number % 3 else ():
            changed[place % len(changed)] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            load_weights_file(network(), path, ())
        except CheckpointError as fault:
            refused += path.name in str(fault)
    return refused


def test_a_damaged_file_of_weights_is_refused_by_name_or_loads(weights):
    assert faults_of_damaged(weights, seed=0, count=150) > 50


@pytest.mark.slow
def test_a_damaged_file_of_weights_never_raises_anything_else(weights):
    assert faults_of_damaged(weights, seed=1, count=3_000) > 1000


def test_a_changed_number_in_a_zip_file_is_found(tmp_path):
    path = tmp_path / "zip.pth"
    torch.save(network().state_dict(), path)
    number = network().state_dict()["2.weight"].numpy().tobytes()
    content = path.read_bytes()
    assert content.count(number) == 1
    path.write_bytes(content.replace(number, number[:9] + bytes([number[9] ^ 1]) + number[10:]))
    with pytest.raises(CheckpointError, match=r"the checksum of .* differs"):
        load_weights_file(network(), path, ())


@pytest.mark.parametrize("content", [[1, 2], {"weight": 3}, {"state_dict": None}, torch.ones(3), "text"])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="cannot be read as a dict of tensors"):
        load_weights_file(network(), tmp_path / "other.pth", ())


@pytest.mark.parametrize(
    ("convert", "says"),
    [
        (lambda weight: weight.to_sparse(), "cannot be copied"),
        (lambda weight: weight.to("meta"), "cannot be copied"),
        (lambda weight: (100 * weight).to(torch.int8), "another kind of number in 1: 2.weight"),
        (lambda weight: weight.to(torch.complex64), "another kind of number in 1: 2.weight"),
    ],
    ids=["sparse", "without data", "integers", "complex"],
)
def test_a_tensor_of_another_kind_is_refused(tmp_path, convert, says):
    state = network().state_dict()
    torch.save(state | {"2.weight": convert(state["2.weight"])}, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=rf"odd\.pth .*{says}"):
        load_weights_file(network(), tmp_path / "odd.pth", ())


@pytest.mark.parametrize("value", [torch.nan, -torch.inf, 1e300], ids=["NaN", "infinite", "beyond float32"])
def test_a_weight_that_is_not_finite_is_named(tmp_path, value):
    state = network().double().state_dict()
    state["2.weight"][1, 3] = value
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth has NaN or infinity in 1: 2\.weight;"):
        load_weights_file(network(), tmp_path / "w.pth", ())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_numbers_of_another_precision_are_converted(tmp_path, dtype):
    state = network().state_dict()
    torch.save(
        {name: value.to(dtype) if value.is_floating_point() else value for name, value in state.items()},
        tmp_path / "w.pth",
    )
    layers = network()
    load_weights_file(layers, tmp_path / "w.pth", ())
    assert layers[2].weight.dtype == torch.float32
    torch.testing.assert_close(layers[2].weight, state["2.weight"], rtol=1e-2, atol=1e-2)
