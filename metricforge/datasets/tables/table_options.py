"""How a table is to be read: what a data set and the doctor are told alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BOX = ("left", "top", "right", "bottom")
NEEDED = ("path", "label")
OPTIONAL = ("split", "role", "is_query", "is_gallery", "group", "camera")
KNOWN = (*NEEDED, *OPTIONAL, *BOX)


@dataclass(frozen=True)
class TableOptions:
    """Where a table's columns are and what to make of its rows; TableDataset explains each.

    Raises:
        ValueError: for ``columns`` of another name than ``KNOWN``, names and numbers mixed, a delimiter of more than
            one character, or ``ignore_labels`` that is one text.
    """

    columns: Mapping[str, str | int] = field(default_factory=dict)
    delimiter: str | None = None
    extension: str | None = None
    path_template: str | None = None
    pattern: str | None = None
    drop_unlabelled: bool = False
    ignore_labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self.columns if name not in KNOWN]
        if unknown:
            raise ValueError(f"columns must be among {', '.join(KNOWN)}, got {', '.join(unknown)}")
        wrong = [
            place for place in self.columns.values() if isinstance(place, bool) or not isinstance(place, str | int)
        ]
        if wrong or any(isinstance(place, int) and place < 0 for place in self.columns.values()):
            raise ValueError(f"columns must be names, or numbers from 0 on, got {dict(self.columns)}")
        if len({type(place) for place in self.columns.values()}) > 1:
            raise ValueError(
                f"columns must be all names (of a header) or all numbers (there is no header), got {dict(self.columns)}"
            )
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f'delimiter must be one character, such as ";" or "\\t", got {self.delimiter!r}')
        if isinstance(self.ignore_labels, str):
            raise ValueError(f"ignore_labels must be a list of labels, got {self.ignore_labels!r}; put it in brackets")

    @property
    def by_number(self) -> bool:
        """Whether columns are told by their number, from 0 on, because the table has no header."""
        return any(isinstance(place, int) for place in self.columns.values())
