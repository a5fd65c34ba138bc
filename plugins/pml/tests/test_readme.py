"""The examples of the README work."""

import re
from pathlib import Path

import pytest

pytest.importorskip("pytorch_metric_learning")

import metricforge_pml  # noqa: F401
from metricforge_pml.parts.registries import NESTED

from metricforge import LOSSES, MINERS, SIMILARITIES
from metricforge.registry import KINDS

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
IN_THE_TABLE = re.findall(r"`(\w+)=(dict\([^`]*\))`", README)


def build(kind, cfg):
    registry = {**KINDS, **NESTED}[kind]
    return registry.build(cfg, path=kind, dim=8, num_classes=4)


def test_the_model_of_the_readme_is_built():
    values = {}
    exec(BLOCKS[0], values)
    model = values["model"]
    assert LOSSES.build(model["loss"]).wrapped.alpha == 2
    assert MINERS.build(model["miner"]).wrapped.epsilon == 0.1
    assert SIMILARITIES.build(model["similarity"]).search == "ip"


def test_the_losses_of_several_parts_are_built():
    statements = re.split(r"\n(?=loss = )", BLOCKS[1])
    built = []
    for statement in statements:
        values = {}
        exec(statement, values)
        built.append(build("loss", values["loss"]))
    assert [type(loss).__name__ for loss in built] == [
        "pml.MultipleLosses",
        "pml.CrossBatchMemory",
        "pml.CrossBatchMemory",
    ]


@pytest.mark.parametrize(("kind", "written"), IN_THE_TABLE)
def test_every_example_of_the_table_is_built(kind, written):
    assert build(kind, eval(written)) is not None


def test_the_table_has_an_example_of_every_kind():
    kinds = {kind for kind, _ in IN_THE_TABLE}
    assert kinds >= {"loss", "miner", "similarity", "reducer", "embedding_regularizer", "weight_init_func"}
