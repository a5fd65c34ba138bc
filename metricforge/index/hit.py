"""What a search finds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from metricforge.html_tables import html_table, picture_address


@dataclass(frozen=True)
class Hit:
    """An image that was found.

    Args:
        id: its id in the index, which it keeps.
        score: the model's similarity to the query: larger = more alike.
        path: where the image is stored, as it was added.
        label: as in the source; None without labels.
        probability: that it has the query's class, in 0..1; None before ``metricforge index calibrate``.
        is_match: whether its score reaches the threshold below which a query counts as unknown; None before that.
        metadata: the other columns of the table it was added from.

    Examples:
        >>> Hit(id=7, score=0.93, path="a.jpg", label="cat").to_json()["label"]
        'cat'
    """

    id: int
    score: float
    path: str
    label: Any = None
    probability: float | None = None
    is_match: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the hit as JSON types; values without one, such as dates, as text."""
        values = asdict(self)
        values["metadata"] = {key: plain_value(value) for key, value in self.metadata.items()}
        values["label"] = plain_value(self.label)
        return values


class Hits(list[Hit]):
    """What one query found, best first: a list that a notebook shows as a table with pictures.

    Examples:
        >>> found = Hits([Hit(id=7, score=0.93, path="a.jpg", label="<cat>")])
        >>> "&lt;cat&gt;" in found._repr_html_()
        True
    """

    def _repr_html_(self) -> str:
        calibrated = any(hit.probability is not None for hit in self)
        header = ["", "image", "label", "score", *(["probability"] if calibrated else []), "id"]
        rows = []
        for hit in self:
            chance = "" if hit.probability is None else f"{100 * hit.probability:.0f} %"
            label = "" if hit.label is None else str(hit.label)
            cells = [picture_address(hit.path), hit.path, label, f"{hit.score:.3f}", *([chance] if calibrated else [])]
            rows.append([*cells, str(hit.id)])
        return html_table(header, rows, images=True)


class SearchResults(list[Hits]):
    """What each query found, in the order of the queries: a list that a notebook shows as tables."""

    def _repr_html_(self) -> str:
        return "".join(hits._repr_html_() for hits in self)


def plain_value(value: Any) -> Any:
    """``value`` as a JSON type, at any depth; one without, such as a date, as text, and a number not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain_value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
