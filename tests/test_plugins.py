from __future__ import annotations

import pytest

from metricforge import LOSSES, plugins
from metricforge.plugins import load_plugins


@pytest.fixture
def announce(monkeypatch):
    """Announces plug-in modules as installed distributions do; undone afterwards."""
    LOSSES.names()
    monkeypatch.setattr(LOSSES, "_module_dict", dict(LOSSES._module_dict))
    load_plugins.cache_clear()

    def announce_these(**modules):
        entries = [_Entry(name, f"{name}_module", run) for name, run in modules.items()]
        monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: entries)

    yield announce_these
    load_plugins.cache_clear()


class _Entry:
    dist = None

    def __init__(self, name, value, run):
        self.name, self.value, self.load = name, value, run


def register_a_loss():
    LOSSES.register_module(name="AnnouncedLoss", module=type("AnnouncedLoss", (), {}))


def fail():
    raise ImportError("no module named nonsense")


def test_a_plug_in_is_loaded_and_what_it_registers_is_known(announce):
    announce(good=register_a_loss)
    (plugin,) = load_plugins()
    assert plugin.registers == (("loss", "AnnouncedLoss"),)
    assert plugin.error == ""


def test_a_broken_plug_in_is_named_and_the_others_work(announce):
    announce(bad=fail, good=register_a_loss)
    with pytest.warns(UserWarning, match="plug-in bad .*no module named nonsense"):
        bad, good = load_plugins()
    assert bad.error == "ImportError: no module named nonsense"
    assert good.registers == (("loss", "AnnouncedLoss"),)
    assert "AnnouncedLoss" in LOSSES.names()


def test_plug_ins_are_loaded_once(announce):
    announce(good=register_a_loss)
    assert load_plugins() is load_plugins()
