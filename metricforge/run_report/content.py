"""What a report shows of one or two opened runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from PIL import Image

from metricforge.arrays import Floats32
from metricforge.calibration import Calibration
from metricforge.comparison import Comparison
from metricforge.errors import MetricForgeError
from metricforge.evaluation import confused_classes
from metricforge.report.html import Chart, Thumbnails
from metricforge.report.html.thumbnails import BUDGET
from metricforge.run_report.class_overlap import NEIGHBOURS as NEIGHBOURS_OF_OVERLAP
from metricforge.run_report.class_overlap import outliers, overlapping_classes
from metricforge.run_report.class_part import class_chart, score_of_classes
from metricforge.run_report.diagnostics_part import diagnoses
from metricforge.run_report.embedding_map import (
    FEWEST_POINTS,
    MOST_POINTS_OF_TSNE,
    TITLES,
    MapPoints,
    Method,
    lay_out,
    map_json,
    map_points,
    rows_of,
    with_training,
)
from metricforge.run_report.gallery_part import NEIGHBOURS, gallery_json, image_ids, pick_gallery
from metricforge.run_report.opened_run import OpenedRun
from metricforge.run_report.pairing_part import pairing_part
from metricforge.run_report.pairs_part import accepted_at, calibrated, pair_charts, sample_pairs
from metricforge.run_report.picture_lists import PictureLists, image_ids_of
from metricforge.run_report.readout_part import readout_part
from metricforge.run_report.retrieval import Retrieval, retrieve
from metricforge.run_report.scores_part import scores_part
from metricforge.run_report.size_part import recall_chart, size_chart
from metricforge.run_report.suspects import doubtful_labels, near_duplicates
from metricforge.run_report.training_part import training_charts, training_facts
from metricforge.run_report.why_part import why_part
from metricforge.version import __version__

MOST_BYTES = 20_000_000
ROOM_OF_PAGE = 6_500_000  # for plotly, the page's own parts, charts, and explanations
FEWEST_BYTES = 300_000  # of pictures
DEPTH = 50  # neighbours of each query that the parts of a report read
LISTED = 24
PARTS = {
    "scores": "Scores",
    "pairing": "Query by query",
    "training": "Training",
    "readout": "Candidates",
    "gallery": "Queries and neighbours",
    "map": "Map",
    "size": "Recall",
    "pairs": "Similarities",
    "classes": "Classes",
    "suspects": "Labels and duplicates",
    "why": "Why similar",
}
Status = Callable[[str], AbstractContextManager[Any]]


class Content:
    """Gathers ``report``, what the page's templates show, and ``payload``, what its scripts draw.

    Args:
        runs: one or two.
        comparison: of their scores.
        status: called with what is being done, in a few words.
    """

    def __init__(self, runs: Sequence[OpenedRun], comparison: Comparison, status: Status) -> None:
        self._runs = runs
        self.images = runs[0].images
        self.points: MapPoints | None = None
        self.layouts: dict[Method, Floats32] = {}
        self._status = status
        self.charts: dict[str, list[Chart]] = {"training": training_charts(runs)}
        self.report: dict[str, Any] = dict.fromkeys(PARTS) | {
            "names": [run.name for run in runs],
            "version": __version__,
            "subtitle": _subtitle(runs[0]),
            "scores": scores_part(runs, comparison),
            "pairing": pairing_part(runs),
            "training": True,
            "readout": _readouts(runs),
            "facts": [training_facts(run) for run in runs],
            "diagnoses": [diagnoses(run) for run in runs],
            "missing": [(run.name, missing) for run in runs if (missing := run.missing or _without_pictures(run))],
            "protocols": [json.dumps(run.scored.protocol, indent=2, ensure_ascii=False) for run in runs],
            "charts": self.charts,
        }
        self.payload: dict[str, Any] = {"runs": self.report["names"], "classes": [], "thumbnails": {}, "gallery": []}

    def finish(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The report and its payload, once all parts are gathered."""
        self.report["parts"] = [(key, title) for key, title in PARTS.items() if self.report[key] is not None]
        self.payload["charts"] = {chart.key: chart.to_json() for its in self.charts.values() for chart in its}
        return self.report, self.payload

    def add_pictures(self, queries: int, maps: Sequence[Method]) -> None:
        """Add all parts that need images: of the first run, and in the gallery of both where their queries agree."""
        first = self._runs[0]
        if first.images is None:
            return
        together = [run for run in self._runs if run.images is not None and _same_queries(first, run)]
        with self._status("searching"):
            retrievals = [_retrieved(run) for run in together]
        context, dataset, retrieval = first.images.context, first.images.dataset, retrievals[0]
        shown = pick_gallery(context, retrievals, queries)
        self.payload |= {
            "classes": list(dataset.class_names),
            "gallery": gallery_json(context, retrievals, shown),
            "galleryRuns": [run.name for run in together],
        }
        self.report["gallery"] = {
            "shown": len(shown),
            "of": int(context.task.has_match.sum()),
            "neighbours": min(NEIGHBOURS, retrieval.found.shape[1]),
            "runs": [run.name for run in together],
        }
        with self._status("recall by the size of an embedding"):
            self._add_recall(together, retrievals)
        with self._status("comparing pairs"):
            self._add_pairs(first, retrieval)
        rows = self._add_map(first, retrieval, maps)
        with self._status("looking for doubtful labels and duplicates"):
            lists = self._add_pictures_of_classes(first, retrieval, rows)
        with self._status("explaining similarities"):
            self.report["why"] = why_part(first.images, retrieval, shown) or None
        self.payload["pictures"] = lists
        if not dataset.has_pictures:
            ids = [*image_ids(context, retrievals, shown), *image_ids_of(lists.values())]
            self.payload["places"] = {number: dataset.location(number) for number in ids}
            return
        training = first.images.training
        beside = None if isinstance(training, str) else training.dataset
        images = len(dataset) + (0 if beside is None else len(beside))
        everyone = np.random.default_rng(context.seed).permutation(images).tolist()

        def load(number: int) -> Image.Image:
            return (
                dataset.load(number) if beside is None or number < len(dataset) else beside.load(number - len(dataset))
            )

        with self._status("making thumbnails"):
            thumbnails = Thumbnails(load, self._room())
            thumbnails.add(image_ids(context, retrievals, shown))
            thumbnails.add(image_ids_of(lists.values()))
            thumbnails.add(everyone if self.report["map"] else [])
        self.payload["thumbnails"] = thumbnails.to_json()

    def _room(self) -> int:
        """How many bytes of pictures the file still has room for.

        Raises:
            MetricForgeError: if it is full without them.
        """
        used = len(json.dumps(self.payload)) + ROOM_OF_PAGE
        room = 3 * (MOST_BYTES - used) // 4  # base64 takes a third more
        if room < FEWEST_BYTES:
            raise MetricForgeError(
                f"the report would be of {used / 1e6:.0f} MB before its pictures, and a report has at most "
                f"{MOST_BYTES / 1e6:.0f}; show fewer queries (--queries) or no map (--map none)"
            )
        return min(room, BUDGET)

    def _add_recall(self, runs: Sequence[OpenedRun], retrievals: Sequence[Retrieval]) -> None:
        by_size = size_chart(runs[0])
        charts = [recall_chart(runs, retrievals)]
        self.report["size"] = True
        self.report["size_note"] = by_size if isinstance(by_size, str) else ""
        self.charts["size"] = charts if isinstance(by_size, str) else [*charts, by_size]

    def _add_pairs(self, run: OpenedRun, retrieval: Retrieval) -> None:
        assert run.images is not None
        pairs = sample_pairs(run.images.context)
        if pairs is None:
            return
        found = run.calibration or calibrated(run.images.context, retrieval)
        self.charts["pairs"] = pair_charts(pairs, found)
        self.report["pairs"] = (
            f"There is no threshold: {found}."
            if isinstance(found, str)
            else _described(found, run.calibration is not None, *accepted_at(retrieval, found.threshold))
        )

    def _add_map(self, run: OpenedRun, retrieval: Retrieval, maps: Sequence[Method]) -> Floats32:
        """Add the map, and return the rows (N, D) of its images, queries first."""
        assert run.images is not None
        context = run.images.context
        points = map_points(context, retrieval)
        training = run.images.training
        beside = None if isinstance(training, str) else training
        if beside is not None:
            dataset = run.images.dataset
            others = [name for name in beside.names if name not in set(dataset.class_names)]
            self.payload["classes"] = [*dataset.class_names, *others]
            numbers = {name: label for label, name in enumerate(self.payload["classes"])}
            labels = np.array([numbers[name] for name in beside.names])[beside.embedded.labels]
            points = with_training(points, len(dataset), labels)
        rows = rows_of(context, points, None if beside is None else beside.embedded)
        wanted = [name for name in maps if name != "tsne" or len(rows) <= MOST_POINTS_OF_TSNE]
        notes = [] if len(wanted) == len(maps) else [f"t-SNE is drawn of at most {MOST_POINTS_OF_TSNE:,} images."]
        notes += [training] if isinstance(training, str) and training else []
        if len(rows) < FEWEST_POINTS or not wanted:
            return rows[: points.queries]
        self.points = points
        for name in wanted:
            with self._status(f"laying out the map by {TITLES[name]}"):
                self.layouts[name] = lay_out(rows, name, context.seed)
        self.payload["map"] = map_json(context, points, self.layouts, retrieval)
        self.report["map"] = {
            "shown": len(points.ids),
            "available": points.available,
            "layouts": [TITLES[name] for name in self.layouts],
            "has_gallery": points.queries < len(points.ids) - points.training,
            "training": points.training,
            "depth": min(NEIGHBOURS_OF_OVERLAP, retrieval.found.shape[1]),
            "note": " ".join(notes),
        }
        return rows[: points.queries]

    def _add_pictures_of_classes(self, run: OpenedRun, retrieval: Retrieval, rows: Floats32) -> dict[str, Any]:
        assert run.images is not None
        context, dataset = run.images.context, run.images.dataset
        make = PictureLists(context, retrieval, dataset.class_names)
        lists: dict[str, Any] = {}
        if self.report["map"] is not None:
            lists["overlaps"] = make.overlaps(overlapping_classes(context, retrieval, LISTED // 2))
            lists["outliers"] = make.outliers(outliers(context.queries.labels, rows, LISTED // 2))
        queries = run.scored.queries
        if queries is not None and queries.values:
            self.charts["classes"] = [class_chart(queries, score_of_classes(queries))]
            self.report["classes"] = True
            self.report["has_confused"] = "" in queries.nearest
            if "" in queries.nearest:
                lists["confused"] = make.confused(confused_classes(queries)[:LISTED])
        lists["doubtful"] = make.doubtful(doubtful_labels(context, retrieval, LISTED))
        if dataset.has_pictures:
            duplicates = near_duplicates(context, retrieval, dataset.load, dataset.load, LISTED)
            lists["duplicates"] = make.duplicates(duplicates)
        self.report["suspects"] = {"duplicates": dataset.has_pictures}
        return lists


def _described(found: Calibration, by_training: bool, mistaken: float, right: float) -> str:
    where = "training chose it on its validation classes" if by_training else "it is chosen on these very images"
    low, high = (f"{100 * share:.1f}" for share in (found.low, found.high))
    sure = f"with {100 * found.confidence:g} % confidence"
    return (
        f"From a similarity of {found.threshold:.4g} on, the nearest image counts as a match: {where}, so that at most "
        f"{100 * found.wanted_rate:g} % of queries whose class is not there are accepted by mistake, {low} to {high} % "
        f"among other classes ({sure}). Of the test queries {100 * mistaken:.1f} % would be, and {100 * right:.1f} % "
        "of those whose class is there find a match."
    )


def _without_pictures(run: OpenedRun) -> str:
    """Says that there are no pictures, where that is so; empty otherwise."""
    if run.images is None or run.images.dataset.has_pictures:
        return ""
    return f"These are {run.images.dataset.unit}; in place of a picture stands where each comes from."


def _subtitle(run: OpenedRun) -> str:
    measured: Any = run.scored.protocol.get("dataset") or {}
    return str(measured.get("name", "scores of embeddings"))


def _readouts(runs: Sequence[OpenedRun]) -> list[dict[str, Any] | None] | None:
    """What the readout of each run compared; None where none did."""
    choices: list[Any] = [run.scored.protocol.get("choice") for run in runs]
    found = [
        None if run.readout is None else readout_part(run.readout, choice)
        for run, choice in zip(runs, choices, strict=True)
    ]
    return found if any(found) else None


def _retrieved(run: OpenedRun) -> Retrieval:
    assert run.images is not None
    context = run.images.context
    return retrieve(context, min(DEPTH, context.gallery_size))


def _same_queries(one: OpenedRun, other: OpenedRun) -> bool:
    assert one.images is not None
    assert other.images is not None
    pairs = [(one.images.context.queries, other.images.context.queries)]
    pairs.append((one.images.context.gallery, other.images.context.gallery))
    for first, second in pairs:
        assert first.ids is not None
        assert second.ids is not None
        if not (np.array_equal(first.ids, second.ids) and np.array_equal(first.labels, second.labels)):
            return False
    return one.images.dataset.fingerprint() == other.images.dataset.fingerprint()
