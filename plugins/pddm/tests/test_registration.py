import metricforge_pddm

from metricforge import load_plugins
from metricforge.absent_types import FIRST_PARTY_TYPES
from metricforge.registry import KINDS


def test_the_plugin_registers_exactly_the_types_that_the_core_ascribes_to_it():
    registered = {
        name
        for registry in KINDS.values()
        for name, registered_class in registry.module_dict.items()
        if registered_class.__module__.startswith("metricforge_pddm.")
    }
    ascribed = {name for name, distribution in FIRST_PARTY_TYPES.items() if distribution == "metricforge-pddm"}
    assert registered == ascribed == set(metricforge_pddm.__all__) - {"CollapsedScoresWarning"}


def test_the_installed_entry_point_loads_without_a_fault():
    plugins = {plugin.distribution: plugin for plugin in load_plugins()}
    assert plugins["metricforge-pddm"].module == "metricforge_pddm"
    assert plugins["metricforge-pddm"].error == ""
