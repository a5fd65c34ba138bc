"""Lists of pictures with a sentence to each: what overlaps, stands apart, is confused, mislabelled or there twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from metricforge.evaluation import ConfusedClasses
from metricforge.evaluation.context import EvaluationContext
from metricforge.run_report.class_overlap import Outlier, Overlap
from metricforge.run_report.retrieval import Retrieval
from metricforge.run_report.suspects import DoubtfulLabel, NearDuplicate

OF_EACH = 4  # pictures of a class, or examples of a confusion
NEIGHBOURS = 5

PictureList = list[dict[str, Any]]


class PictureLists:
    """Makes lists of the images of one evaluation.

    An entry has a ``title``, a ``text`` and ``tiles``, each an image's ``id``, its ``label``, a ``kind`` ("query",
    "match", "miss" or "plain") and a ``text``.
    """

    def __init__(self, context: EvaluationContext, retrieval: Retrieval, class_names: Sequence[str]) -> None:
        self.context = context
        self.retrieval = retrieval
        self.class_names = class_names

    def overlaps(self, found: Iterable[Overlap]) -> PictureList:
        """Some images of both classes."""
        return [
            {
                "title": f"{self.class_names[each.first]} ↔ {self.class_names[each.second]}",
                "text": f"{100 * each.share:.0f} % of their nearest neighbours are of the other class",
                "tiles": [
                    self._query(int(query), "plain")
                    for label in (each.first, each.second)
                    for query in np.flatnonzero(self.context.queries.labels == label)[:OF_EACH]
                ],
            }
            for each in found
        ]

    def outliers(self, found: Iterable[Outlier]) -> PictureList:
        """Each outlier with its neighbours."""
        return [
            {
                "title": self._name(each.query),
                "text": f"{each.times:.1f} times as far from its class as is usual there",
                "tiles": self._row(each.query, NEIGHBOURS),
            }
            for each in found
        ]

    def confused(self, found: Iterable[ConfusedClasses]) -> PictureList:
        """Queries of either class with the image of the other that they found first."""
        entries = []
        for pair in found:
            names = self.class_names[pair.first], self.class_names[pair.second]
            tiles = []
            for label, other in ((pair.first, pair.second), (pair.second, pair.first)):
                mistaken = (self.context.queries.labels == label) & (self.retrieval.labels[:, 0] == other)
                for query in np.flatnonzero(mistaken & self.context.task.has_match)[: OF_EACH // 2]:
                    tiles += self._row(int(query), 1)
            text = (
                f"{_times(pair.first_as_second)} {names[0]} finds {names[1]} first, "
                f"{_times(pair.second_as_first)} the other way round"
            )
            entries.append({"title": f"{names[0]} ↔ {names[1]}", "text": text, "tiles": tiles})
        return entries

    def doubtful(self, found: Iterable[DoubtfulLabel]) -> PictureList:
        """Each image with the neighbours that contradict its label."""
        return [
            {
                "title": f"{self._name(each.query)}: perhaps {self.class_names[each.likely]}",
                "text": f"{100 * each.share:.0f} % of its nearest are of that class, none of its own",
                "tiles": self._row(each.query, NEIGHBOURS),
            }
            for each in found
        ]

    def duplicates(self, found: Iterable[NearDuplicate]) -> PictureList:
        """Both pictures."""
        entries = []
        for each in found:
            same = self.context.queries.labels[each.query] == self.context.gallery.labels[each.image]
            entries.append(
                {
                    "title": "The same class" if same else "Two classes",
                    "text": f"thumbnails correlate by {each.correlation:.3f}",
                    "tiles": [self._query(each.query, "plain"), self._image(each.image, "match" if same else "miss")],
                }
            )
        return entries

    def _row(self, query: int, count: int) -> PictureList:
        found, is_match = self.retrieval.found[query, :count], self.retrieval.is_match[query, :count]
        tiles = [self._query(query, "query")]
        return tiles + [
            self._image(int(image), "match" if match else "miss", f"{score:.3g}")
            for image, match, score in zip(found, is_match, self.retrieval.scores[query], strict=False)
        ]

    def _query(self, query: int, kind: str) -> dict[str, Any]:
        assert self.context.queries.ids is not None
        label = int(self.context.queries.labels[query])
        return {"id": int(self.context.queries.ids[query]), "label": label, "kind": kind, "text": ""}

    def _image(self, image: int, kind: str, text: str = "") -> dict[str, Any]:
        assert self.context.gallery.ids is not None
        label = int(self.context.gallery.labels[image])
        return {"id": int(self.context.gallery.ids[image]), "label": label, "kind": kind, "text": text}

    def _name(self, query: int) -> str:
        return self.class_names[int(self.context.queries.labels[query])]


def image_ids_of(lists: Iterable[PictureList]) -> list[int]:
    """The images in ``lists``."""
    return [tile["id"] for entries in lists for entry in entries for tile in entry["tiles"]]


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")
