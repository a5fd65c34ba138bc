"""How a folder is to be read: what a data set and the doctor are told alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metricforge.datasets.tables.name_pattern import check_pattern


@dataclass(frozen=True)
class FolderOptions:
    """Where a folder's classes are; ImageFolderDataset explains each.

    Raises:
        ValueError: for a ``class_depth`` below 1 or beside a ``pattern``, a pattern that cannot be read, or
            ``ignore_labels`` that is one text.
    """

    class_depth: int | None = None
    pattern: str | None = None
    drop_unlabelled: bool = False
    ignore_labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.class_depth is not None and (type(self.class_depth) is not int or self.class_depth < 1):
            raise ValueError(
                f"class_depth must be a whole number >= 1, got {self.class_depth!r}; 1 is the folder's own sub-folders"
            )
        if self.class_depth is not None and self.pattern is not None:
            raise ValueError("class_depth and pattern say both where the class is; leave one out")
        if self.pattern is not None:
            check_pattern(self.pattern)
        if isinstance(self.ignore_labels, str):
            raise ValueError(f"ignore_labels must be a list of labels, got {self.ignore_labels!r}; put it in brackets")
