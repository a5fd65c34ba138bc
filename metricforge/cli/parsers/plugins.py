"""The arguments of ``metricforge plugins``."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("--all", action="store_true", help="list every component, one per line: plug-in, kind, name")
