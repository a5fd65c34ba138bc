"""The arguments of ``metricforge plugins``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument(
        "--all", action="store_true", help="print every component on a line of its own: plug-in, kind, name"
    )
