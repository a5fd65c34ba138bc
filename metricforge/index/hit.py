"""What a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


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
        values["metadata"] = {key: _plain(value) for key, value in self.metadata.items()}
        values["label"] = _plain(self.label)
        return values


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
