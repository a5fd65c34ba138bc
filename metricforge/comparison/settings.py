"""Finds the settings of a protocol that change what a score means and in which runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# What the evaluation chose, so that the same model would get another score by another choice.
OF_EVERY_SCORE = (
    "dataset.fingerprint",
    "queries",
    "gallery",
    "classes",
    "queries_without_match",
    "self_exclusion",
    "exclude",
    "ties",
    "preprocessing.transform",
    "preprocessing.decode",
    "choice.weights",
    "choice.by",
)
OF_THE_MODEL_S_RANKING = ("similarity.type",)
OF_CLUSTERS = "clustering"
# Everything about an evaluator counts, except which scores were requested, what is counted elsewhere, and file names.
NOT_OF_ONE_SCORE = frozenset(
    {
        *("type", "scores", "name", "ks", "fars", "agreement", "evaluators", "clusters", "counts", "bytes_per_vector"),
        "fitted_on_source",
    }
)
# Worth knowing about two models, though it does not change the meaning of a score.
REMARKABLE = (
    *("embedding", "pretraining.source", "epoch"),
    *("choice.score", "choice.among", "choice.classes", "choice.test_looks", "versions"),
)


@dataclass(frozen=True)
class Differing:
    """A ``setting`` of the protocol, and the value that each run has; None where a run does not say."""

    setting: str
    values: tuple[object, ...]


def differing_settings(score: str, protocols: Sequence[Mapping[str, Any]]) -> tuple[Differing, ...]:
    """Return the settings that change what ``score`` means and differ between ``protocols``.

    Old protocols, from before evaluators recorded their scores, do not have an evaluator's settings: if there is one,
    these settings are not compared.
    """
    known = [_settings_of_evaluator(score, protocol) for protocol in protocols]
    settings: list[dict[str, object]] = []
    for protocol, of_evaluator in zip(protocols, known, strict=True):
        settings.append(dict(_values(protocol, OF_EVERY_SCORE)))
        if None in known:
            settings[-1] |= dict(_values(protocol, OF_THE_MODEL_S_RANKING))
        else:
            settings[-1] |= of_evaluator or {}
    return _differing(settings)


def remarkable_differences(protocols: Sequence[Mapping[str, Any]]) -> tuple[Differing, ...]:
    """Return the differences between ``protocols`` that are worth knowing but do not change what a score means."""
    return _differing([dict(_values(protocol, REMARKABLE)) for protocol in protocols])


def says_settings(score: str, protocol: Mapping[str, Any]) -> bool:
    """Whether ``protocol`` says which evaluator gave ``score``, and with what settings."""
    return _settings_of_evaluator(score, protocol) is not None


def _differing(settings: Sequence[Mapping[str, object]]) -> tuple[Differing, ...]:
    names = dict.fromkeys(name for one in settings for name in one)
    columns = {name: tuple(one.get(name) for one in settings) for name in names}
    return tuple(Differing(name, values) for name, values in columns.items() if any(v != values[0] for v in values))


def _settings_of_evaluator(score: str, protocol: Mapping[str, Any]) -> dict[str, object] | None:
    """How the evaluator that gave ``score`` worked, and what it read; None if no evaluator says that it gave it."""
    evaluators = _chain(score, protocol.get("evaluators") or ())
    if evaluators is None:
        return None
    settings = {
        f"{evaluator['type']}.{name}": value
        for evaluator in evaluators
        for name, value in _values(evaluator, [name for name in evaluator if name not in NOT_OF_ONE_SCORE])
    }
    settings["evaluator"] = " of ".join(str(evaluator["type"]) for evaluator in reversed(evaluators))
    if not any("similarity" in evaluator for evaluator in evaluators):
        settings |= _values(protocol, OF_THE_MODEL_S_RANKING)
    if "clusters" in evaluators[-1]:
        has_its_own = any(OF_CLUSTERS in evaluator for evaluator in evaluators)
        settings |= _values(protocol, [f"{OF_CLUSTERS}.seed" if has_its_own else OF_CLUSTERS])
    return settings


def _chain(score: str, evaluators: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]] | None:
    """The evaluator that gave ``score``, before it the one that it stands in, if any."""
    for evaluator in evaluators:
        if score in evaluator.get("scores", ()):
            inner = _chain(score.removeprefix(f"{evaluator.get('name')}/"), evaluator.get("evaluators") or ())
            return [evaluator, *(inner or ())]
    return None


def _values(protocol: Mapping[str, Any], names: Sequence[str]) -> Iterator[tuple[str, object]]:
    """The values at dotted ``names``; of a mapping, those of all that is in it."""
    for name in names:
        value: Any = protocol
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            yield from _values(protocol, [f"{name}.{inner}" for inner in value])
        else:
            yield name, value
