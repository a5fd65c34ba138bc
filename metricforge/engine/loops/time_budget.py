"""How many updates fit into a time, and how far a schedule is to be after each of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

TOLERANCE = 0.05  # of what is left: a plan that misses the budget by less stays, so that a resumed run keeps it
MEASURED_UPDATES = 3
MEASURED_SHARE = 0.01  # of the budget


class TimeBudget:
    """Plans the last update of a training that is to end after ``seconds``, and where its schedule is on the way there.

    A schedule of ``updates`` updates is gone through in full by ``end`` updates, at most as many: after each update it
    stands at ``position``, a number of its own updates. The plan is made once a hundredth of the time is used, from the
    seconds that updates and what is between epochs (validation, checkpoints) took until then, and again where it would
    miss the budget by more than a twentieth of what is left. It is part of ``state_dict``, with the seconds used, so
    that a resumed run has the plan of the one that was stopped; the time between does not count.

    Args:
        seconds: what the training may take, above 0.
        updates: of the whole schedule, N.
        per_epoch: updates of an epoch.
        multiple: ``end`` is a multiple of this, as accumulated gradients need.
        clock: seconds; by default those of a monotonic clock.
    """

    def __init__(
        self,
        seconds: float,
        updates: int,
        per_epoch: int,
        multiple: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self.updates = updates
        self.per_epoch = per_epoch
        self.multiple = multiple
        self.end = updates
        self._clock = clock
        self._planned = False
        self._from = (0, 0)  # the update after which the plan was made, and the schedule's position then
        self._used_before = 0.0
        self._started: float | None = None
        self._last: float | None = None
        self._rate: tuple[float, int] = (0.0, 0)  # seconds, and the updates that took them
        self._pauses: tuple[float, int] = (0.0, 0)  # seconds between two epochs, and how many were measured

    def start(self) -> None:
        """Let the time run."""
        self._started, self._last = self._clock(), None

    @property
    def used(self) -> float:
        """Seconds of training so far."""
        return self._used_before + (0.0 if self._started is None else self._clock() - self._started)

    def note(self, update: int) -> None:
        """Take the time of ``update`` (1, 2, ...), which has just ended."""
        now, last = self._clock(), self._last
        self._last = now
        if last is None:
            return  # the first of a process starts workers and compiles
        seconds, count = self._rate
        if (update - 1) % self.per_epoch:
            self._rate = (seconds + now - last, count + 1)
        else:  # an epoch has ended in between
            pauses, epochs = self._pauses
            usual = seconds / count if count else 0.0
            self._pauses = (pauses + max(0.0, now - last - usual), epochs + 1)

    def revise(self, update: int) -> bool:
        """Plan after ``update`` where there is none, or where the plan misses the budget; whether it is another now."""
        left, (seconds, count) = self.seconds - self.used, self._rate
        if left <= 0:
            changed, self.end = self.end > update, min(self.end, update)
            return changed
        if count < MEASURED_UPDATES or (not self._planned and self.used < MEASURED_SHARE * self.seconds):
            return False
        pause = self._pauses[0] / self._pauses[1] if self._pauses[1] else 0.0
        each = seconds / count + pause / self.per_epoch
        needed = (self.end - update) * each + pause  # the last epoch's validation too
        longer = self.end < self.updates and needed < left * (1 - 2 * TOLERANCE)
        if self._planned and needed <= left * (1 + TOLERANCE) and not longer:
            return False
        first, self._planned = not self._planned, True
        fits = update + max(0, int((left - pause) / each))
        end = min(self.updates, max(update, fits // self.multiple * self.multiple))
        if end == self.end and not first:
            return False
        self._from, self.end = (update, self.position(update)), end
        return end < self.updates or not first

    def position(self, update: int) -> int:
        """Updates of its own that the schedule is past after ``update`` updates; N after the last one."""
        since, at = self._from
        if update >= self.end:
            return self.updates
        return at + (self.updates - at) * (update - since) // (self.end - since)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        plan = {"end": self.end, "planned": self._planned, "from": list(self._from)}
        return plan | {"used": self.used, "rate": list(self._rate), "pauses": list(self._pauses)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a ``state_dict``."""
        self.end, self._planned = state["end"], state["planned"]
        self._from = (state["from"][0], state["from"][1])
        self._rate = (state["rate"][0], state["rate"][1])
        self._pauses = (state["pauses"][0], state["pauses"][1])
        self._used_before, self._started = state["used"], None
