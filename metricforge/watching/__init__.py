"""Follows a run while it trains: its curves, what the doctor says, and how it ends."""

from metricforge.watching.run_state import RunState, read_state

__all__ = ["RunState", "read_state"]
