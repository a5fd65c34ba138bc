"""What to install for a type that is not registered: which distribution has it, or had it when a run was saved."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence

# Which distribution of ours has a type, so that a config which needs it can say what to install.
# The tests of each plug-in compare this with what it registers.
FIRST_PARTY_TYPES = {
    "LiftedStructureLoss": "metricforge-lifted",
    "LiftedStructureMiner": "metricforge-lifted",
    "DifficultNeighbourBatchSampler": "metricforge-lifted",
    "PairListBatchSampler": "metricforge-lifted",
    "PDDM": "metricforge-pddm",
    "LMDM": "metricforge-pddm",
    "HardQuadrupletMiner": "metricforge-pddm",
    "HardPairTripletMiner": "metricforge-pddm",
    "DoubleHeaderHingeLoss": "metricforge-pddm",
    "NormSoftmaxLoss": "metricforge-normsoftmax",
}
# The same for a distribution that has too many types to list: all of them begin so.
FIRST_PARTY_PREFIXES = {"pml.": "metricforge-pml"}

_recorded: dict[str, str] = {}


def note_recorded_types(plugins: object) -> None:
    """Remember what a saved config or model says of its types: ``{"DemoLoss": "metricforge-demo 1.0"}``."""
    if isinstance(plugins, Mapping):
        _recorded.update({str(key): str(value) for key, value in plugins.items()})


def recorded_distribution(key: str) -> str:
    """Which distribution had the type ``key`` when a run was saved; empty if that is not known."""
    return _recorded.get(key, "").partition(" ")[0]


def absent_type(key: str, registered: Sequence[str]) -> str | None:
    """What to install for ``key``, which no installed plug-in registers; None if nothing is known of it.

    Args:
        key: a type.
        registered: the names that are registered.
    """
    ours = FIRST_PARTY_TYPES.get(key)
    for prefix, distribution in FIRST_PARTY_PREFIXES.items():
        if key.startswith(prefix) and not any(name.startswith(prefix) for name in registered):
            ours = distribution
    if ours:
        return (
            f'"{key}" comes with the plug-in {ours}, which is not installed or failed to load; '
            f"`metricforge plugins` tells which, `pip install {ours}` installs it "
            f"(in a checkout: pip install -e plugins/{ours.removeprefix('metricforge-')})"
        )
    return f'"{key}" {_where_it_was(_recorded[key])}' if key in _recorded else None


def _where_it_was(recorded: str) -> str:
    distribution = recorded.partition(" ")[0]
    try:
        installed = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return f"came with the plug-in {recorded}, which is not installed; install {distribution} again"
    return (
        f"came with the plug-in {recorded}; {distribution} {installed} is installed, and does not register it or "
        "failed to load: `metricforge plugins` tells which"
    )
