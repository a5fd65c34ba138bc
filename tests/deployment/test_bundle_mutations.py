"""Whatever is done to a bundle, loading it gives a model or a CheckpointError, and nothing else.

Half of the mutations change bytes, which the hashes find. The other half is what a forger does: values of the
description, or the header of the weights, are changed and every hash is made right again.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from metricforge import load_model
from metricforge.bundle_files import described_file, seal
from metricforge.errors import CheckpointError
from tests.damaged_bytes import damage

FORGED: list[Any] = [
    None, True, -1, 0, 1, 3, 10**6, 2**63, 10**30, -0.5, 1e308, "", "x", "Resize", "GlyphNet", "TimmBackbone", "PDDM",
    "../../etc/passwd", "\0", "nan", [], [1], [[]], {}, {"type": "Resize"}, {"type": "x"},
    {"type": None}, {"a": {"b": 1}},
    ["Lambda"], {"type": "Lambda", "lambd": "print"}, "9" * 5000,
]  # fmt: skip


@pytest.fixture(scope="module")
def bundle(trained_run, tmp_path_factory) -> Path:
    return load_model(trained_run, device="cpu").save(tmp_path_factory.mktemp("mutations") / "bundle")


def change_bytes(folder: Path, draw: random.Random) -> None:
    file = folder / draw.choice(["model.json", "model.safetensors"])
    content = file.read_bytes()
    for _ in range(draw.randint(1, 4)):
        content = damage(content or b"0", draw)
    file.write_bytes(content)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, each in items for found in places(each, (*path, key))]


def forge_description(folder: Path, draw: random.Random) -> None:
    values = json.loads((folder / "model.json").read_text())
    del values["sha256"]
    values.pop("record") if draw.random() < 0.05 else values.update(record={})
    for _ in range(draw.randint(1, 2)):
        place = draw.choice(places(values))
        owner = values
        for key in place[:-1]:
            owner = owner[key]
        if draw.random() < 0.2:
            del owner[place[-1]]
        elif draw.random() < 0.1 and isinstance(owner, dict):
            owner[draw.choice(["type", "weights", "pretrained", "depth", "x"])] = copy.deepcopy(draw.choice(FORGED))
        else:
            owner[place[-1]] = copy.deepcopy(draw.choice(FORGED))
    (folder / "model.json").write_bytes(seal(values))


def forge_weights(folder: Path, draw: random.Random) -> None:
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    for _ in range(draw.randint(1, 3)):
        content[draw.randrange(min(len(content), 900))] = draw.randrange(256)  # sizes and names stand in front
    file.write_bytes(content[: draw.choice([len(content), len(content), draw.randrange(len(content))])])
    values = json.loads((folder / "model.json").read_text())
    del values["sha256"]
    values["weights"] = described_file(file)
    (folder / "model.json").write_bytes(seal(values))


def mutate(bundle: Path, folder: Path, seed: int, count: int) -> tuple[int, int]:
    """How many of ``count`` mutations were refused, and how many gave a model."""
    draw = random.Random(seed)
    refused = loaded = 0
    for number in range(count):
        shutil.copytree(bundle, folder)
        (change_bytes, change_bytes, forge_description, forge_weights)[number % 4](folder, draw)
        try:
            load_model(folder, device="cpu")
            loaded += 1
        except CheckpointError:
            refused += 1
        shutil.rmtree(folder)
    return refused, loaded


def test_a_mutated_bundle_is_refused_by_its_own_error_or_loads(bundle, tmp_path):
    refused, loaded = mutate(bundle, tmp_path / "copy", seed=0, count=400)
    assert refused > 300
    assert refused + loaded == 400


@pytest.mark.slow
def test_ten_thousand_mutated_bundles_raise_nothing_else(bundle, tmp_path):
    refused, loaded = mutate(bundle, tmp_path / "copy", seed=1, count=10_000)
    assert refused > 7_000
    assert refused + loaded == 10_000
