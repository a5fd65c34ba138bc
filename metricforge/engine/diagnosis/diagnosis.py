"""One thing that is wrong with a training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, and what helps.

    Args:
        kind: which of the doctor's diagnoses, such as "collapse"; each is made once a run.
        text: one sentence that says what is seen, and one of advice.
        images: locations of images that it is about.
    """

    kind: str
    text: str
    images: tuple[str, ...] = ()
