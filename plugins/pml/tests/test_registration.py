import inspect
from importlib import metadata

import pytest

pytest.importorskip("pytorch_metric_learning")

from metricforge_pml.parts.registries import REDUCERS, REGULARIZERS
from pytorch_metric_learning import distances, losses, miners, reducers, regularizers

from metricforge import LOSSES, MINERS, SIMILARITIES, load_plugins
from metricforge.absent_types import FIRST_PARTY_PREFIXES
from metricforge.errors import UnknownTypeError
from metricforge.registry import KINDS


@pytest.mark.parametrize(
    ("package", "registry"),
    [
        (losses, LOSSES),
        (miners, MINERS),
        (distances, SIMILARITIES),
        (reducers, REDUCERS),
        (regularizers, REGULARIZERS),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_every_class_of_the_package_is_there_or_left_out_with_a_reason(package, registry):
    names = {name for name, value in vars(package).items() if inspect.isclass(value)}
    assert len(names) >= 5
    for name in names:
        if f"pml.{name}" not in registry.names():
            with pytest.raises(UnknownTypeError, match=rf'"pml.{name}" is not a {registry.name} here: .*; take '):
                registry.get(f"pml.{name}")


def test_what_is_left_out_is_what_the_readme_says():
    registered = {name for registry in (LOSSES, MINERS, SIMILARITIES, REDUCERS) for name in registry.names()}
    for package, expected in (
        (losses, {"SelfSupervisedLoss"}),
        (miners, set()),
        (distances, {"BatchedDistance"}),
        (reducers, {"DoNothingReducer"}),
    ):
        names = {name for name, value in vars(package).items() if inspect.isclass(value)}
        absent = {name for name in names if f"pml.{name}" not in registered}
        assert {name for name in absent if not name.startswith(("Base", "Generic")) and "Mixin" not in name} == expected


def test_all_its_types_have_the_prefix_that_the_core_ascribes_to_it():
    assert FIRST_PARTY_PREFIXES["pml."] == "metricforge-pml"
    registered = [
        name
        for registry in KINDS.values()
        for name, registered_class in registry.module_dict.items()
        if registered_class.__module__.startswith("metricforge_pml.")
    ]
    assert len(registered) > 40
    assert all(name.startswith("pml.") for name in registered)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownTypeError, match=r'did you mean "pml.AngularLoss"'):
        LOSSES.get("pml.AngularLos")


def test_the_installed_entry_point_loads_without_a_fault():
    try:
        metadata.distribution("metricforge-pml")
    except metadata.PackageNotFoundError:
        pytest.skip("metricforge-pml is on the path, but not installed")
    plugins = {plugin.distribution: plugin for plugin in load_plugins()}
    assert plugins["metricforge-pml"].module == "metricforge_pml"
    assert plugins["metricforge-pml"].error == ""
