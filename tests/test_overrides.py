"""``--cfg-options``: what a value is read as, where a key leads, and what becomes of a component of another type."""

from __future__ import annotations

import argparse
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricforge.cli.parsers.cfg_options import add_cfg_options
from metricforge.config import read_config
from metricforge.errors import ConfigError
from metricforge.overrides import apply_overrides, format_override, parse_key, parse_override, parse_value, value_at

CONFIG = {
    "model": {"loss": {"type": "TripletLoss", "margin": 0.1}, "miner": None, "head": {"dim": 8}},
    "evaluators": [{"type": "RecallAtK", "ks": [1, 2]}, {"type": "NMI"}],
    "scale": (0.3, 1.0),
    "seed": 0,
    "custom_keys": {"loss.proxies": {"lr_mult": 1}},
}


def overridden(**overrides):
    config = copy.deepcopy(CONFIG)
    apply_overrides(config, overrides.pop("of", overrides))
    return config


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("+0.5", 0.5),
        ("1e-3", 1e-3),
        ("True", True),
        ("None", None),
        ("", ""),
        ("'3'", "3"),
        ('""', ""),
        ("[1, 2]", [1, 2]),
        ("(0.3,1)", (0.3, 1)),
        ("{'a': [None]}", {"a": [None]}),
        ("dict(a=1, b=dict(c=(2,)))", {"a": 1, "b": {"c": (2,)}}),
        ('[dict(type="RecallAtK", ks=[1])]', [{"type": "RecallAtK", "ks": [1]}]),
        ("my photos", "my photos"),
        (" my photos ", " my photos "),
        ("birds, bees", "birds, bees"),
        ("it's", "it's"),
        ('my "best" photos', 'my "best" photos'),
        (r"C:\photos\new", r"C:\photos\new"),
        ("a=b", "a=b"),
        ("фото/été", "фото/été"),
        ("...", "..."),
        ("true", "true"),
        ("08", "08"),
        ("1.2.3", "1.2.3"),
        ("photos[2020]", "photos[2020]"),
        ("[2020", "[2020"),
        ("{**a}", "{**a}"),
        ("dict(**a)", "dict(**a)"),
        ("dict(1)", "dict(1)"),
        ("list(a=1)", "list(a=1)"),
        ("__import__('os').system('true')", "__import__('os').system('true')"),
        ("[" * 10_000, "[" * 10_000),
        ("-True", "-True"),
    ],
)
def test_a_value_is_a_literal_or_the_string_it_is(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(literals)
def test_what_is_written_of_a_value_reads_back_as_it(value):
    assert parse_override(format_override("a.b", value)) == ("a.b", value)


@pytest.mark.parametrize(
    ("key", "steps"),
    [
        ("a", ("a",)),
        ("a.b.0.c", ("a", "b", "0", "c")),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ("a[0][12]", ("a", 0, 12)),
        ('keys["loss.proxies"].lr_mult', ("keys", "loss.proxies", "lr_mult")),
        ("keys['a=b'].c", ("keys", "a=b", "c")),
        ("baselines.raw pixels.backbone", ("baselines", "raw pixels", "backbone")),
    ],
)
def test_a_key_is_names_and_indices(key, steps):
    assert parse_key(key) == steps
    assert parse_override(f"{key}=x=1") == (key, "x=1")


@pytest.mark.parametrize("key", ["", ".a", "a.", "a..b", "a[x]", "a[-1]", "[0]", "a b .c", "a[0]b", "a['']", " a"])
def test_what_is_no_key_is_said(key):
    with pytest.raises(ConfigError, match="is not a key: a key is names"):
        parse_override(f"{key}=1")


def test_values_are_set_in_dicts_lists_and_tuples():
    config = overridden(
        of={
            "model.loss.margin": 0.5,
            "evaluators[0].ks": [4],
            "evaluators.1.type": "AMI",
            "scale.0": 0.1,
            'custom_keys["loss.proxies"].lr_mult': 7,
        }
    )
    assert config["model"]["loss"] == {"type": "TripletLoss", "margin": 0.5}
    assert config["evaluators"] == [{"type": "RecallAtK", "ks": [4]}, {"type": "AMI"}]
    assert config["scale"] == (0.1, 1.0)
    assert config["custom_keys"] == {"loss.proxies": {"lr_mult": 7}}


@pytest.mark.parametrize(
    ("overrides", "loss"),
    [
        ({"model.loss.type": "TripletLoss"}, {"type": "TripletLoss", "margin": 0.1}),
        ({"model.loss.type": "NPairsLoss"}, {"type": "NPairsLoss"}),
        ({"model.loss.l2": 1, "model.loss.type": "NPairsLoss"}, {"type": "NPairsLoss", "l2": 1}),
        ({"model.loss": {"type": "NPairsLoss", "l2": 1}}, {"type": "NPairsLoss", "l2": 1}),
        ({"model": {"loss": {"type": "NPairsLoss"}}}, {"type": "NPairsLoss"}),
        ({"model.loss": {"margin": 0.5}}, {"type": "TripletLoss", "margin": 0.5}),
        ({"model.loss": {"type": "TripletLoss", "a": 1}}, {"type": "TripletLoss", "margin": 0.1, "a": 1}),
        ({"model.loss": {"type": "TripletLoss", "_delete_": True}}, {"type": "TripletLoss"}),
        ({"model.loss.l2": 2, "model.loss": {"type": "NPairsLoss", "l2": 1}}, {"type": "NPairsLoss", "l2": 2}),
        ({"model.loss": None}, None),
    ],
)
def test_a_component_of_another_type_keeps_no_argument_of_the_one_before(overrides, loss):
    assert overridden(of=overrides)["model"]["loss"] == loss


def test_what_was_none_or_absent_becomes_a_dict():
    config = overridden(of={"model.miner.type": "HardPairMiner", "train_cfg.max_epochs": 3})
    assert config["model"]["miner"] == {"type": "HardPairMiner"}
    assert config["train_cfg"] == {"max_epochs": 3}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("seed.x", "'x' cannot be looked up, because there is 0"),
        ("evaluators[2].ks", "2 is not an index of a list of 2; use 0..1"),
        ("evaluators.ks", "ks is not an index of a list of 2"),
        ("model[0]", "0 cannot be looked up, because there is a dict"),
        ("_base_", "a name with a leading underscore"),
    ],
)
def test_a_key_that_leads_nowhere_is_said(key, says):
    with pytest.raises(ConfigError, match=r"1 fault in the overrides") as caught:
        overridden(of={key: 1})
    assert says in str(caught.value)


def test_what_stands_at_a_key_can_be_read():
    assert value_at(CONFIG, "evaluators[0].ks.1") == 2
    assert value_at(CONFIG, "model.loss.type") == "TripletLoss"
    assert value_at(CONFIG, "evaluators.7") is None
    assert value_at(CONFIG, "seed.x") is None


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    return parser


def test_the_option_may_be_repeated_and_takes_several(parser):
    given = ["--cfg-options", "a=1", "b.c=my photos, all", "--cfg-options", "d=[1]", "a=1"]
    assert parser.parse_args(given).cfg_options == {"a": 1, "b.c": "my photos, all", "d": [1]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["a"], "a: must be KEY=VALUE"),
        (["a=1", "config.py"], "config.py: must be KEY=VALUE"),
        (["a=1", 'a=["x"]'], "is given twice"),
        (["a=1", "a=2"], "a: is given twice, as 1 and as 2"),
        (["=2"], "is not a key"),
    ],
)
def test_a_wrong_option_ends_with_usage(parser, given, says, capsys):
    with pytest.raises(SystemExit) as leaving:
        parser.parse_args(["--cfg-options", *given])
    assert leaving.value.code == 2
    assert says in capsys.readouterr().err


def test_overrides_survive_the_run_s_own_config(tmp_path):
    folder = r"my photos\été, 'the \"best\"'"
    path = tmp_path / "config.py"
    path.write_text("model = dict(loss=dict(type='TripletLoss', margin=0.1))\n")
    given = {"data_root": folder, "evaluators": [{"type": "RecallAtK", "ks": (1, 2)}], "model.loss.type": "NPairsLoss"}
    config = read_config(path, given)
    assert config.model.loss.type == "NPairsLoss"
    config.dump(tmp_path / "dumped.py")
    again = read_config(tmp_path / "dumped.py").to_dict()
    assert again == {
        "model": {"loss": {"type": "NPairsLoss"}},
        "data_root": folder,
        "evaluators": [{"type": "RecallAtK", "ks": (1, 2)}],
    }
