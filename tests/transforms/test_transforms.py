from __future__ import annotations

import inspect

import pytest
import torch
from mmengine.config import Config
from torchvision.transforms import v2

from metricforge.errors import ConfigError
from metricforge.registry import TRANSFORMS


def test_every_transform_of_torchvision_is_registered_under_its_own_name():
    expected = {
        name: cls for name, cls in inspect.getmembers(v2, inspect.isclass) if v2.Transform in inspect.getmro(cls)[1:]
    }
    assert len(expected) > 40
    assert {name: TRANSFORMS.get(name) for name in expected} == expected


def test_lists_from_a_config_do_as_tuples():
    cfg = Config(dict(t=dict(type="RandomResizedCrop", size=16, scale=[0.3, 1.0]))).t
    image = torch.zeros(3, 30, 40, dtype=torch.uint8)
    assert TRANSFORMS.build(cfg)(image).shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("cfg", "size"),
    [
        (dict(type="Resize", size=[20, 20]), (20, 20)),
        (dict(type="RandomCrop", size=18), (18, 18)),
        (dict(type="CenterCrop", size=18), (18, 18)),
        (dict(type="RandomHorizontalFlip"), (24, 28)),
    ],
)
def test_the_papers_transforms_keep_uint8(cfg, size):
    image = TRANSFORMS.build(cfg)(torch.zeros(3, 24, 28, dtype=torch.uint8))
    assert image.dtype == torch.uint8
    assert image.shape == (3, *size)


def test_an_unknown_argument_is_named():
    with pytest.raises(ConfigError, match=r"RandomCrop has no such argument; did you mean \"size\""):
        TRANSFORMS.build(dict(type="RandomCrop", sise=3))


def test_the_abstract_transform_is_not_registered():
    assert "Transform" not in TRANSFORMS.names()
