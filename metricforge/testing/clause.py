"""How a check names the clause of the contract that failed, and the input it failed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def clause(component: object, text: str) -> Iterator[None]:
    """Turn any error inside into an AssertionError that begins with the component's class and ``text``."""
    try:
        yield
    except AssertionError as fault:
        raise AssertionError(f"{type(component).__name__}: {text}: {fault}") from fault
    except Exception as fault:  # a component under test may raise anything
        raise AssertionError(f"{type(component).__name__}: {text}: raised {type(fault).__name__}: {fault}") from fault


def require(holds: bool, otherwise: str) -> None:
    """Raise AssertionError with ``otherwise`` unless it ``holds``, under ``python -O`` too."""
    if not holds:
        raise AssertionError(otherwise)
