"""Compares runs: scores with intervals, differences on the same queries, and settings that forbid a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metricforge.arrays import Flags, Floats
from metricforge.comparison.run_scores import SCORES_FILE, RunScores, read_run
from metricforge.comparison.same_queries import on_the_same_queries
from metricforge.comparison.settings import Differing, differing_settings, remarkable_differences, says_settings
from metricforge.errors import ComparisonError
from metricforge.evaluation import QueryScores, query_scores_path
from metricforge.evaluation.results.class_bootstrap import percentile_interval, resampled_means, two_sided_p
from metricforge.html_tables import html_table
from metricforge.report.run_names import run_names
from metricforge.spelling import nearest


@dataclass(frozen=True)
class Difference:
    """The difference of a score to the first run's, its interval, and the two-sided p-value of no difference.

    ``interval`` and ``p`` are None where the two were not compared query by query.
    """

    value: float
    interval: tuple[float, float] | None = None
    p: float | None = None


@dataclass(frozen=True)
class Standing:
    """The ``score`` of one run, its interval where queries have values, and its difference to the first run's."""

    score: float
    interval: tuple[float, float] | None = None
    difference: Difference | None = None


@dataclass(frozen=True)
class ComparedScore:
    """A score that all runs have: how each stands, in the order of the runs, and what was measured differently."""

    name: str
    standings: tuple[Standing, ...]
    differing: tuple[Differing, ...]


@dataclass(frozen=True)
class Comparison:
    """``runs`` by name, the first of which the others are compared with.

    ``withheld`` are scores that are not set side by side, because they were measured differently; ``remarks`` are
    settings that differ without changing what a score means; ``notes`` say in words what is missing here, and why.
    ``queries`` and ``classes`` are those that count for a score, of the first run that has values of queries; None if
    none has.
    """

    runs: tuple[str, ...]
    scores: tuple[ComparedScore, ...]
    withheld: tuple[tuple[str, tuple[Differing, ...]], ...]
    remarks: tuple[Differing, ...]
    notes: tuple[str, ...]
    queries: int | None
    classes: int | None
    resamples: int
    level: float
    seed: int

    def _repr_html_(self) -> str:
        several = len(self.runs) > 1
        header = ["score", *(cell for run in self.runs for cell in (run if several else "per cent", "interval"))]
        header += ["difference", "interval", "p"] * (len(self.runs) - 1)
        rows = []
        for score in self.scores:
            cells = [score.name]
            for standing in score.standings:
                cells += [f"{100 * standing.score:.1f}", _said_interval(standing.interval)]
            for difference in (standing.difference for standing in score.standings[1:]):
                assert difference is not None
                p = "" if difference.p is None else f"{difference.p:.3f}"
                cells += [f"{100 * difference.value:+.1f}", _said_interval(difference.interval, "+"), p]
            rows.append(cells)
        return html_table(header, rows)

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as dicts and lists, ``withheld`` by score."""
        return asdict(self) | {"withheld": {name: [asdict(one) for one in its] for name, its in self.withheld}}


def compare_runs(
    runs: Sequence[Path | str],
    scores: Sequence[str] | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
    force: bool = False,
) -> Comparison:
    """Compare the last evaluations of ``runs``, in every score that all of them have.

    Intervals are over classes: ``resamples`` times as many classes as there are were drawn with replacement, with all
    their queries, and the middle share ``level`` of the means is the interval. A difference to the first run is that of
    the two means on the same draws. Scores that are no mean over queries have no interval.

    Args:
        runs: folders of runs, or scores files.
        scores: which ones; None: all.
        resamples: how often classes are drawn, at least 100.
        level: confidence level of the intervals, between 0 and 1.
        seed: of the draws.
        force: also compare scores that were measured differently; each says what differs.

    Raises:
        ComparisonError: for a run that ``read_run`` refuses or that is listed twice, an argument out of its range, a
            score that a run lacks, or, without ``force``, if every score was measured differently.
    """
    if not runs:
        raise ComparisonError("runs must name at least one run, got none")
    if resamples < 100:
        raise ComparisonError(f"resamples must be at least 100, got {resamples}; 10,000 are fast enough")
    if not 0 < level < 1:
        raise ComparisonError(f"level must be between 0 and 1, got {level:g}; 0.95 is usual")
    read = [read_run(run) for run in runs]
    names = run_names([_place(run.path) for run in read])
    chosen = _choose_scores(names, read, scores)
    protocols = [run.protocol for run in read]
    differing = {score: differing_settings(score, protocols) for score in chosen}
    withheld = {} if force else {score: its for score, its in differing.items() if its}
    if len(withheld) == len(chosen):
        raise ComparisonError(_refusal(names, withheld))
    shown = [score for score in chosen if score not in withheld]
    paired, notes = _pair(names, read)
    standings = _standings(shown, read, paired, resamples, level, seed)
    first = next((run.queries for run in read if run.queries is not None), None)
    counted = None if first is None else _counted(shown, first)
    classes = None if first is None else len(np.unique(first.labels[counted]))
    if classes == 1:
        notes.append("the queries are of one class, so there is nothing to draw from and no interval")
    lacking = [score for score in dict.fromkeys(s for run in read for s in run.scores) if score not in chosen]
    if lacking and scores is None:
        notes.append(f"not in all runs, so not shown: {', '.join(lacking)}")
    if not all(says_settings(score, protocol) for score in shown for protocol in protocols):
        notes.append(
            "a run is from before evaluators noted which scores they gave: settings of evaluators and clustering were "
            "not compared"
        )
    return Comparison(
        tuple(names),
        tuple(ComparedScore(score, standings[score], differing[score]) for score in shown),
        tuple(withheld.items()),
        remarkable_differences(protocols),
        tuple(notes),
        None if counted is None else int(counted.sum()),
        classes,
        resamples,
        level,
        seed,
    )


def _said_interval(interval: tuple[float, float] | None, sign: str = "") -> str:
    return "" if interval is None else f"{100 * interval[0]:{sign}.1f} to {100 * interval[1]:{sign}.1f}"


def _place(scores_file: Path) -> Path:
    """Return what names a run: its folder, or the scores file if that has a name of its own."""
    own_name = scores_file.with_name(scores_file.name.removesuffix(".json"))
    return scores_file.resolve().parent if scores_file.name == SCORES_FILE else own_name


def describe_differences(names: Sequence[str], differing: Sequence[Differing]) -> list[str]:
    """Describe each setting in a line, with the value of each run."""
    return [
        f"{one.setting}: " + ", ".join(f"{name} {_said(value)}" for name, value in zip(names, one.values, strict=True))
        for one in differing
    ]


def _said(value: object) -> str:
    return "does not say" if value is None else str(value)


def _choose_scores(names: Sequence[str], runs: Sequence[RunScores], wanted: Sequence[str] | None) -> list[str]:
    for name, run in zip(names, runs, strict=True):
        for score in wanted or ():
            if score not in run.scores:
                raise ComparisonError(f"{name} has no score {score}{nearest(score, list(run.scores))}")
    shared = [score for score in runs[0].scores if all(score in run.scores for run in runs)]
    if not shared:
        listed = "; ".join(f"{name}: {', '.join(run.scores)}" for name, run in zip(names, runs, strict=True))
        raise ComparisonError(f"the runs have no score in common ({listed}); evaluate them with the same evaluators")
    return list(dict.fromkeys(wanted)) if wanted else shared


def _refusal(names: Sequence[str], withheld: Mapping[str, tuple[Differing, ...]]) -> str:
    settings = dict.fromkeys(one for differing in withheld.values() for one in differing)
    lines = "".join(f"\n  - {line}" for line in describe_differences(names, list(settings)))
    return (
        f"these runs were not measured in the same way, so their scores do not compare:{lines}\n"
        "evaluate them with one protocol, or show them with a warning by --force"
    )


def _pair(names: Sequence[str], runs: Sequence[RunScores]) -> tuple[list[QueryScores | None], list[str]]:
    """The queries of each run in the order of the first run's, where they are the same, and what is to be said."""
    notes = []
    paired: list[QueryScores | None] = []
    for name, run in zip(names, runs, strict=True):
        first = runs[0].queries
        same = None if run.queries is None or first is None else on_the_same_queries(run.queries, first)
        paired.append(same)
        if run.queries is None:
            notes.append(
                f"{name} has no values of single queries ({query_scores_path(run.path).name}), so no intervals: it is "
                "from before they were kept, or has only scores that are not means over queries"
            )
        elif same is None and first is not None:
            notes.append(f"the queries of {name} are not those of {names[0]}, so their differences have no interval")
    return paired, notes


def _standings(
    shown: Sequence[str],
    runs: Sequence[RunScores],
    paired: Sequence[QueryScores | None],
    resamples: int,
    level: float,
    seed: int,
) -> dict[str, tuple[Standing, ...]]:
    means = [_means_of_run(shown, own or run.queries, resamples, seed) for own, run in zip(paired, runs, strict=True)]
    standings: dict[str, tuple[Standing, ...]] = {}
    for score in shown:
        rows = []
        for number, run in enumerate(runs):
            drawn = means[number].get(score)  # (resamples, 1)
            difference = None
            if number:
                both = paired[number] is not None and drawn is not None and score in means[0]
                value = run.scores[score] - runs[0].scores[score]
                difference = _difference(value, drawn - means[0][score] if both and drawn is not None else None, level)
            rows.append(Standing(run.scores[score], _interval(drawn, level), difference))
        standings[score] = tuple(rows)
    return standings


def _means_of_run(shown: Sequence[str], queries: QueryScores | None, resamples: int, seed: int) -> dict[str, Floats]:
    """By score the resampled means (resamples, 1); none of a run without queries, or where one class alone is there."""
    if queries is None:
        return {}
    of_the_same: dict[bytes, list[str]] = {}  # scores that are means over the same queries
    for score in shown:
        if score in queries.values:
            of_the_same.setdefault(queries.counted_for(score).tobytes(), []).append(score)
    means: dict[str, Floats] = {}
    for names in of_the_same.values():
        mask = queries.counted_for(names[0])  # (Q,)
        if len(np.unique(queries.labels[mask])) > 1:
            columns = np.column_stack([queries.values[name][mask] for name in names])  # (q, S)
            drawn = resampled_means(columns, queries.labels[mask], resamples, seed)  # (resamples, S)
            means |= {name: drawn[:, [number]] for number, name in enumerate(names)}
    return means


def _counted(shown: Sequence[str], queries: QueryScores) -> Flags:
    """The queries (Q,) that count for any of the scores ``shown``."""
    masks = [queries.counted_for(score) for score in shown if score in queries.values]
    return np.logical_or.reduce(masks) if masks else queries.has_match


def _interval(drawn: Floats | None, level: float) -> tuple[float, float] | None:
    if drawn is None:
        return None
    lower, upper = percentile_interval(drawn, level)
    return float(lower[0]), float(upper[0])


def _difference(value: float, drawn: Floats | None, level: float) -> Difference:
    if drawn is None:
        return Difference(value)
    return Difference(value, _interval(drawn, level), float(two_sided_p(drawn)[0]))
