"""Plug-ins as strangers write them, installed as little distributions, with every mistake they make."""

from __future__ import annotations

import importlib.metadata
import sys
import warnings

import pytest

from metricforge import CONTRACT, HOOKS, LOSSES, MINERS, build_runner, plugins
from metricforge.component_source import announced_sources
from metricforge.config_check import check_config
from metricforge.errors import ConfigError, PluginError, UnknownTypeError
from metricforge.plugins import load_plugins
from metricforge.registry import plugin_types

LOSS = """
from metricforge import LOSSES, Loss, LossOutput

@LOSSES.register_module()
class ShopLoss(Loss):
    def __init__(self, margin: float = 0.1, scale: float = 1.0) -> None:
        super().__init__()
        if margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}")
        if scale <= 0:
            raise ValueError(f"scale must be above 0, got {scale}")
        self.margin = margin

    def forward(self, embeddings, labels, tuples=None, similarity=None):
        return LossOutput(embeddings.sum() * 0)
"""
OTHER = LOSS.replace("ShopLoss", "OtherLoss")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs distributions into a folder of their own, the only ones there are; all they did is undone afterwards."""
    load_plugins()
    registries = plugins.REGISTRIES.values()
    before = [(registry.module_dict, dict(registry.module_dict)) for registry in registries]
    modules = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group: [
            entry
            for distribution in importlib.metadata.Distribution.discover(path=[str(tmp_path)])
            for entry in distribution.entry_points
            if entry.group == group
        ],
    )

    def install_this(distribution: str, version: str = "1.0", **entries: str) -> None:
        """``entries``: a module's source by entry point; a first line ``#:name`` makes it ``module:name``."""
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[metricforge.plugins]"]
        for name, source in entries.items():
            module = f"{distribution.replace('-', '_')}_{name}"
            first = source.partition("\n")[0]
            lines.append(f"{name} = {module}{first.removeprefix('#') if first.startswith('#:') else ''}")
            (tmp_path / f"{module}.py").write_text(source)
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        load_plugins.cache_clear()
        announced_sources.cache_clear()

    yield install_this
    for known, content in before:
        known.clear()
        known.update(content)
    for name in set(sys.modules) - modules:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]
    load_plugins.cache_clear()
    announced_sources.cache_clear()


def load(*expected_warnings: str) -> dict[str, plugins.Plugin]:
    """The plug-ins by name; each warning must be expected."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = {plugin.name: plugin for plugin in load_plugins()}
    said = [str(warning.message) for warning in caught]
    assert len(said) == len(expected_warnings), said
    for text, found in zip(expected_warnings, said, strict=True):
        assert text in found
    return loaded


def test_a_plug_in_is_loaded_once_and_what_it_registers_is_known(install):
    install("shop", demo=LOSS)
    plugin = load()["demo"]
    assert (plugin.distribution, plugin.version, plugin.error) == ("shop", "1.0", "")
    assert plugin.registers == (("loss", "ShopLoss"),)
    assert load_plugins() is load_plugins()
    assert LOSSES.build(dict(type="ShopLoss", margin=0.5)).margin == 0.5


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ImportError('no module named nonsense')", "ImportError: no module named nonsense"),
        ("import sys; sys.exit(3)", "it ends the process while it is imported (SystemExit: 3)"),
        ("LOSSES.register_module(name='f', module=lambda: None)", "it is a function, not a class"),
        (
            "import functools; LOSSES.register_module(name='P', module=functools.partial(OtherLoss, 1))",
            "functools.partial",
        ),
        ("LOSSES.register_module(name='O', module=OtherLoss())", "an object of class OtherLoss, not a class"),
        (
            "from metricforge import MINERS; MINERS.register_module(module=OtherLoss)",
            "it is a loss: register it in LOSSES",
        ),
        (
            "from metricforge import HEADS; HEADS.register_module(module=OtherLoss)",
            "it is a loss: register it in LOSSES",
        ),
        ("LOSSES.register_module(module=type('Bare', (), {}))", "a loss must derive from metricforge.Loss"),
        ("LOSSES.register_module(module=type('NoForward', (Loss,), {}))", "it does not implement forward"),
        ("LOSSES.register_module(name='a::b', module=OtherLoss)", "without blanks and without ::"),
        ("LOSSES.register_module(name='OtherLoss', module=type('B', (OtherLoss,), {}))", "already registered by it"),
        (
            "from metricforge import Miner, MINERS\nMINERS.register_module(module=type('M', (Miner,), {'forward': 1}))",
            "yields must be the type of its tuples",
        ),
        (
            "from metricforge import MINERS, Miner, Pairs\n@MINERS.register_module()\nclass M(Miner):\n"
            "    yields = Pairs\n    def forward(self, embeddings: 'Tensor', labels): pass",
            "MINERS cannot register M: forward is called with (embeddings, labels, similarity), which "
            "forward(self, embeddings, labels) does not take",
        ),
        (
            "from metricforge import Evaluator, EVALUATORS\n@EVALUATORS.register_module()\nclass E(Evaluator):\n"
            "    def evaluate(self, queries, gallery): pass",
            "evaluate is called with (context), which evaluate(self, queries, gallery) does not take",
        ),
        (
            "from metricforge import HOOKS\nfrom mmengine.hooks import Hook\n@HOOKS.register_module()\n"
            "class H(Hook):\n    def before_trian(self, runner): pass",
            'a run has no point before_trian, so it would never be called; did you mean "before_train"?',
        ),
        (
            "from mmengine.registry import HOOKS; HOOKS.register_module(module=OtherLoss)",
            "HOOKS cannot register OtherLoss: it is a loss",
        ),
    ],
)
def test_a_plug_in_that_fails_is_named_rolled_back_whole_and_the_others_work(install, fault, said):
    install("good-shop", good=LOSS)
    install("bad-shop", bad=OTHER + fault)
    bad = load("plug-in bad (bad-shop 1.0) failed to load")["bad"]
    assert said in bad.error
    assert bad.registers == ()
    assert "ShopLoss" in LOSSES
    assert "OtherLoss" not in LOSSES
    assert "OtherLoss" not in MINERS
    assert "OtherLoss" not in HOOKS
    assert LOSSES.get("TripletLoss").__module__ == "metricforge.losses.triplet_loss"
    with pytest.raises(UnknownTypeError, match=r"failed to load, see `metricforge plugins`: bad \(bad-shop\)"):
        LOSSES.get("OtherLoss")


def test_a_class_that_nothing_registers_is_told_how_to(install):
    install("shop", demo="from metricforge import Loss\nclass ForgottenLoss(Loss): pass")
    load()
    with pytest.raises(UnknownTypeError, match=r'"ForgottenLoss" is a class of shop_demo, but not registered'):
        LOSSES.get("ForgottenLoss")


def test_a_file_that_is_not_there_is_not_said_to_be_a_fault_of_the_code(install, tmp_path):
    install("shop", demo=OTHER.replace("super().__init__()", "open('/absent/file')"))
    load()
    with pytest.raises(PluginError, match=r"FileNotFoundError.*; check the files and folders that the config names"):
        LOSSES.build(dict(type="OtherLoss"))


def test_a_method_may_take_more_than_it_is_called_with_or_be_static(install):
    install(
        "shop",
        demo="from metricforge import TRANSFORMS, Evaluator, EVALUATORS\n@TRANSFORMS.register_module()\nclass Same:\n"
        "    @staticmethod\n    def __call__(image, strength=1): return image\n@EVALUATORS.register_module()\n"
        "class Any(Evaluator):\n    def evaluate(self, *everything): pass\n"
        "    @classmethod\n    def protocol(cls): return {}",
    )
    assert [plugin.error for plugin in load().values() if plugin.distribution == "shop"] == [""]


def test_a_plug_in_that_is_slow_to_import_is_named_with_the_time(install, monkeypatch):
    monkeypatch.setattr(plugins, "SLOW_SECONDS", 0.05)
    install("slow-shop", slow="import time; time.sleep(0.1)")
    plugin = load("plug-in slow (slow-shop 1.0): took 0.1 s to import")["slow"]
    assert plugin.seconds >= 0.1
    assert plugin.error == ""


def test_a_name_of_two_plug_ins_is_neither_s_and_each_is_chosen_by_its_plug_in(install):
    install("shop-a", "1.5", first=LOSS)
    install("shop-b", "2.0", second=LOSS)
    load()
    with pytest.raises(ConfigError) as caught:
        LOSSES.build(dict(type="ShopLoss"), path="model.loss")
    assert (
        'model.loss.type: "ShopLoss" is registered by several plug-ins: shop-a 1.5 (first::ShopLoss) and '
        "shop-b 2.0 (second::ShopLoss); write the one that is meant"
    ) in str(caught.value)
    assert LOSSES.get("first::ShopLoss").__module__ == "shop_a_first"
    assert LOSSES.get("second::ShopLoss").__module__ == "shop_b_second"
    assert LOSSES.get("shop-b::ShopLoss").__module__ == "shop_b_second"
    built = LOSSES.build(dict(type="second::ShopLoss", margin=2))
    assert built.margin == 2
    assert plugin_types(dict(loss=dict(type="second::ShopLoss"))) == {"second::ShopLoss": "shop-b 2.0"}
    with pytest.raises(UnknownTypeError, match=r"no plug-in third registers a loss ShopLoss; .*first::Shop"):
        LOSSES.get("third::ShopLoss")


def test_a_plug_in_may_be_named_where_nobody_else_has_the_name(install):
    install("shop", demo=LOSS)
    load()
    assert LOSSES.get("demo::ShopLoss") is LOSSES.get("ShopLoss")
    assert LOSSES.get("metricforge::TripletLoss") is LOSSES.get("TripletLoss")


def test_the_loser_s_name_is_the_winner_s_again_when_the_loser_is_taken_back(install):
    install("shop-a", first=LOSS)
    install("shop-b", second=LOSS + "raise OSError('later')")
    load("OSError: later")
    assert LOSSES.get("ShopLoss").__module__ == "shop_a_first"


def test_two_distributions_with_one_entry_point_name_are_told_apart_by_their_own(install):
    install("shop-a", demo=LOSS)
    install("shop-b", demo=LOSS)
    load_plugins()
    with pytest.raises(UnknownTypeError, match=r"shop-a::ShopLoss.*shop-b::ShopLoss"):
        LOSSES.get("ShopLoss")
    assert LOSSES.get("shop-a::ShopLoss").__module__ == "shop_a_demo"


def test_what_replaces_a_core_class_by_force_is_said_and_the_core_s_stays_within_reach(install):
    forced = LOSS.replace("register_module()", "register_module(name='TripletLoss', force=True)")
    install("shop", demo=forced)
    load(
        "plug-in demo (shop 1.0): replaces the loss TripletLoss (force=True); the replaced one is metricforge::Triplet"
    )
    assert LOSSES.get("TripletLoss").__module__ == "shop_demo"
    assert LOSSES.get("metricforge::TripletLoss").__module__ == "metricforge.losses.triplet_loss"


def test_a_name_that_the_core_has_stays_the_core_s_and_the_plug_in_s_is_chosen_by_its_name(install):
    install("shop", demo=LOSS.replace("ShopLoss", "TripletLoss"))
    load("plug-in demo (shop 1.0): its loss TripletLoss is demo::TripletLoss in configs: MetricForge itself has")
    assert LOSSES.get("TripletLoss").__module__ == "metricforge.losses.triplet_loss"
    assert LOSSES.get("demo::TripletLoss").__module__ == "shop_demo"


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (str(CONTRACT), ""),
        (str(CONTRACT + 1), f"written for version {CONTRACT + 1} of the plug-in contract"),
        ("0", "upgrade the plug-in, or install an older metricforge"),
        ("'1'", "METRICFORGE_CONTRACT must be an integer"),
    ],
)
def test_a_plug_in_for_another_contract_is_not_imported_and_told_which(install, declared, error):
    install("shop", demo=f"METRICFORGE_CONTRACT = {declared}\n{LOSS}")
    plugin = load(*([error] if error else []))["demo"]
    assert error in plugin.error
    assert ("shop_demo" in sys.modules) == (error == "")


@pytest.mark.parametrize(
    ("first", "source"),
    [
        (
            "#:register",
            LOSS.replace("@LOSSES.register_module()", "")
            + "def register():\n    LOSSES.register_module(module=ShopLoss)",
        ),
        ("#:ShopLoss", LOSS),
        ("#:ShopLoss", LOSS.replace("@LOSSES.register_module()", "")),
    ],
)
def test_an_entry_point_may_name_a_class_or_a_function(install, first, source):
    install("shop", demo=f"{first}\n{source}")
    assert load()["demo"].registers == (("loss", "ShopLoss"),)


@pytest.mark.parametrize(
    ("first", "said"), [("#:absent", "AttributeError"), ("#:NAMES", "it must name a module, a class, or a function")]
)
def test_an_entry_point_that_names_something_else_is_a_fault_and_its_module_is_rolled_back(install, first, said):
    install("shop", demo=f"{first}\n{LOSS}NAMES = []\n")
    assert said in load("failed to load")["demo"].error
    assert "ShopLoss" not in LOSSES


def test_all_bad_options_of_one_component_are_told_together(install):
    install("shop", demo=LOSS)
    load()
    with pytest.raises(ConfigError) as caught:
        LOSSES.build(dict(type="ShopLoss", margin=-1, scale=0), path="model.loss")
    assert caught.value.faults == [
        "model.loss: margin must be at least 0, got -1",
        "model.loss: scale must be above 0, got 0",
    ]
    with pytest.raises(ConfigError) as caught:
        LOSSES.build(dict(type="ShopLoss", margin="wide", scale=-2, depth=1), path="model.loss")
    assert [fault.partition(" ")[0] for fault in caught.value.faults] == [
        "model.loss.margin:",
        "model.loss.depth:",
        "model.loss:",
    ]


def test_what_a_plug_in_s_constructor_raises_is_said_to_be_its_fault(install):
    install("shop", demo=LOSS.replace("self.margin = margin", "self.margin = margin.value"))
    load()
    with pytest.raises(
        PluginError, match=r"model.loss: ShopLoss of shop 1.0 fails: AttributeError: .*not of the config"
    ):
        LOSSES.build(dict(type="ShopLoss"), path="model.loss")


def test_a_saved_config_names_the_distribution_that_is_no_longer_installed(install, tiny_config):
    tiny_config["model"]["loss"] = dict(type="GoneLoss")
    tiny_config["model"]["miner"] = None
    tiny_config["plugins"] = dict(GoneLoss="metricforge-gone 2.1")
    (fault,) = [fault for fault in check_config(tiny_config) if "GoneLoss" in fault]
    assert "came with the plug-in metricforge-gone 2.1, which is not installed; install metricforge-gone again" in fault


def test_a_saved_config_does_not_take_another_distribution_s_type_for_its_own(install, tiny_config):
    tiny_config["plugins"] = dict(TripletLoss="metricforge-gone 2.1")
    (fault,) = check_config(tiny_config)
    assert fault.startswith("plugins.TripletLoss: the config was saved with that of metricforge-gone 2.1")


def test_a_run_records_which_distribution_each_type_came_with(install, tiny_config, tmp_path):
    install("shop", demo=LOSS)
    load()
    tiny_config["model"]["loss"], tiny_config["model"]["miner"] = dict(type="ShopLoss"), None
    runner = build_runner(tiny_config, work_dir=tmp_path / "run", device="cpu")
    runner.dump_config()
    assert "plugins = dict(ShopLoss='shop 1.0')" in next((tmp_path / "run").glob("*.py")).read_text()
