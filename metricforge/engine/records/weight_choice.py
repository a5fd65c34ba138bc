"""Chooses the weights that the test classes are scored with, and records what they were chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SECOND = "map@r"  # decides between equals: Recall@1 of few classes is soon the same in every epoch


def second_score(score: str, scores: Mapping[str, float]) -> float | None:
    """The MAP@R that decides between equals in ``score``, measured as that is or as it is at all; None without one.

    Examples:
        >>> second_score("reranked/recall@1", {"reranked/recall@1": 1.0, "euclidean/map@r": 0.9})
        0.9
    """
    prefix, _, _ = score.rpartition("/")
    names = [f"{prefix}/{SECOND}", SECOND, *sorted(name for name in scores if name.endswith(f"/{SECOND}"))]
    return next((scores[name] for name in names if name in scores), None)


@dataclass
class WeightChoice:
    """The choice of one run's weights: of its last epoch, or of the epoch with the best validation score.

    Args:
        score: the score whose best epoch is taken, of equals the one with the higher MAP@R, then the earlier one; None:
            the last epoch.
        by: the classes that validations score; None: there are no validations.
        classes: how many classes these are.
        images: how many images.
        reason: why it is the last epoch although the config sets classes aside; empty if it does not.
        among: validations so far.
        best: the best score so far.
        second: the MAP@R with it; None if it was not measured.
        iteration: after how many updates it was found.
        test_looks: how often the test classes were scored by weights of this run.
    """

    score: str | None = None
    by: Literal["validation classes", "test classes"] | None = None
    classes: int = 0
    images: int = 0
    reason: str = ""
    among: int = 0
    best: float | None = None
    second: float | None = None
    iteration: int | None = None
    test_looks: int = 0

    def consider(self, scores: Mapping[str, float], iteration: int) -> bool:
        """Record a validation after ``iteration`` updates; whether its weights are the best so far.

        Raises:
            ValueError: if no evaluator gives the score to choose by.
        """
        self.among += 1
        self.test_looks += self.by == "test classes"
        if self.score is None:
            return False
        if self.score not in scores:
            raise ValueError(
                f"checkpoint.save_best: no evaluator gives the score {self.score!r}; take one of {sorted(scores)}"
            )
        value, second = scores[self.score], second_score(self.score, scores)
        if self.best is not None and value <= self.best:
            is_higher = second is not None and self.second is not None and second > self.second
            if value < self.best or not is_higher:
                return False
        self.best, self.second, self.iteration = value, second, iteration
        return True

    def forget(self) -> None:
        """Start the choice over."""
        self.among, self.best, self.second, self.iteration = 0, None, None, None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"among": self.among, "test_looks": self.test_looks, **self.best_so_far()}

    def best_so_far(self) -> dict[str, Any]:
        """Return which weights are the best so far, as part of a ``state_dict``."""
        return {"best": self.best, "second": self.second, "iteration": self.iteration}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict``, or from what it holds of one."""
        for name, value in state.items():
            setattr(self, name, value)

    def of_last_epoch(self) -> dict[str, object]:
        """Describe the choice of the last epoch's weights, for a protocol."""
        how: dict[str, object] = {"weights": "last epoch", "by": None}
        return how | ({"reason": self.reason} if self.reason else {})

    def of_best_epoch(self) -> dict[str, object]:
        """Describe the choice of the best weights so far, for a protocol."""
        return {
            "weights": "best epoch",
            "by": self.by,
            "score": self.score,
            "value": self.best,
            "among": self.among,
            "classes": self.classes,
            "images": self.images,
        }

    def describe(self) -> str:
        """Describe in one line how weights will be chosen."""
        if self.score is None:
            return "of the last epoch" + (f": {self.reason}" if self.reason else "")
        return f"of the epoch with the best {self.score} on {self._described_classes()}"

    def conclude(self, epoch: int) -> str:
        """Describe in one line which weights were chosen, those after ``epoch``."""
        if self.best is None:
            return f"epoch {epoch}, the last{f': {self.reason}' if self.reason else ''}"
        return (
            f"epoch {epoch}, the best of {self.among} by {self.score} on {self._described_classes()} ({self.best:.4f})"
        )

    def _described_classes(self) -> str:
        kind = "validation" if self.by == "validation classes" else "TEST"
        return f"{self.classes:,} {kind} classes"
