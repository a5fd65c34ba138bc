from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Literal

import pytest

from metricforge.argument_types import misfit, plain_annotations
from metricforge.config_check import check_config


def takes(
    whole: int,
    number: float,
    switch: bool,
    name: str | None,
    path: str | Path,
    mode: Literal["fast", "full"] | None,
    sizes: list[int],
    anything: Any,
    *,
    later: int = None,  # type: ignore[assignment]  # noqa: RUF013
) -> None: ...


takes.__module__ = "metricforge.somewhere"
HINTS = plain_annotations(takes)
PARAMETERS = {
    name: parameter.replace(annotation=HINTS[name]) for name, parameter in inspect.signature(takes).parameters.items()
}


@pytest.mark.parametrize(
    ("argument", "fitting", "others", "allowed"),
    [
        ("whole", [1, -1], [1.0, True, "1", None, [1]], "an integer"),
        ("number", [1, 0.5], ["0.5", True, None], "a number"),
        ("switch", [True, False], ["false", 1, None], "True or False"),
        ("name", ["a", None], [1, False], "a string or None"),
        ("path", ["a", Path("a")], [1, None], "a string or a path"),
        ("mode", ["fast", None], ["slow", 1], "'fast', 'full' or None"),
        ("later", [1, None], ["1"], "an integer"),
        ("sizes", [[1], 1, "a"], [], None),
        ("anything", [[1], 1, "a"], [], None),
    ],
)
def test_a_plain_annotation_is_held(argument, fitting, others, allowed):
    assert [misfit(value, PARAMETERS[argument]) for value in fitting] == [None] * len(fitting)
    assert [misfit(value, PARAMETERS[argument]) for value in others] == [allowed] * len(others)


def test_annotations_of_other_libraries_are_not_judged():
    def other(size: int) -> None: ...

    other.__module__ = "elsewhere.module"
    assert plain_annotations(other) == {}


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (("train_cfg", "max_epochs"), "abc", "train_cfg.max_epochs: 'abc' must be an integer"),
        (("train_cfg", "max_epochs"), "", "train_cfg.max_epochs: '' must be an integer"),
        (("model", "head", "layer_norm"), "false", "model.head.layer_norm: 'false' must be True or False"),
        (("model", "loss", "margin"), "0,5", "model.loss.margin: '0,5' must be a number"),
    ],
)
def test_a_config_s_value_of_another_type_is_one_fault(tiny_config, key, value, says):
    part = tiny_config
    for step in key[:-1]:
        part = part[step]
    part[key[-1]] = value
    assert check_config(tiny_config) == [says]
