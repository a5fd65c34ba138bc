from __future__ import annotations

import pytest
from mmengine.config import Config

from metricforge.deployment.stored_config import read_stored_config
from metricforge.errors import CheckpointError


def test_what_a_config_dumps_is_read_back():
    values = dict(
        model=dict(backbone=dict(type="GlyphNet", width=3), ks=[1, -2, 0.5], size=(4, 4)),
        baselines={"raw pixels": dict(flag=True, nothing=None)},
        said='it\'s "quoted"',
    )
    assert read_stored_config(Config(values).pretty_text, "here") == Config(values).to_dict()


@pytest.mark.parametrize(
    "text",
    [
        "import os",
        "x = __import__('os').system('true')",
        "x = open('f')",
        "x = [i for i in (1, 2)]",
        "x = dict(**{'a': 1})",
        "x = f'{1}'",
        "x.y = 1",
        "x = 1 +",
        "x = " + "[" * 5000,
    ],
)
def test_anything_but_assigned_literals_is_refused(text):
    with pytest.raises(CheckpointError, match="here: the config stored in it cannot be read"):
        read_stored_config(text, "here")
