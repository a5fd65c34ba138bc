"""A config's text is formatted once, and is what mmengine makes of it."""

from __future__ import annotations

import mmengine.config.config
from mmengine.config import Config
from yapf.yapflib import yapf_api

import metricforge.config  # noqa: F401  (what reads configs keeps their texts)

CONTENT = dict(model=dict(loss=dict(type="TripletLoss", margin=0.2)), evaluators=[dict(type="RecallAtK", ks=[1, 2])])


def test_an_equal_config_is_not_formatted_again(monkeypatch):
    before = mmengine.config.config.FormatCode.cache_info().misses
    texts = {Config(CONTENT | dict(seed=20_000_003)).pretty_text for _ in range(3)}
    assert mmengine.config.config.FormatCode.cache_info().misses == before + 1
    kept = texts.pop()
    assert not texts
    monkeypatch.setattr(mmengine.config.config, "FormatCode", yapf_api.FormatCode)
    assert Config(CONTENT | dict(seed=20_000_003)).pretty_text == kept


def test_a_config_that_changed_is():
    config = Config(CONTENT)
    assert "margin=0.2" in config.pretty_text
    config.model.loss.margin = 0.7
    assert "margin=0.7" in config.pretty_text
    assert "margin=0.7" in config.dump()
