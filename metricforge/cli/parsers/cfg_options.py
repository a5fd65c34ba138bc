"""``--cfg-options KEY=VALUE ...``: values to use instead of those of the config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from metricforge.errors import ConfigError
from metricforge.overrides import parse_key, parse_override


class Overrides(argparse.Action):
    """Collects ``KEY=VALUE`` arguments into a dict of dotted keys to values."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        collected = dict(getattr(namespace, self.dest) or {})
        for text in values or []:
            try:
                key, value = parse_override(text)
            except ConfigError as error:
                hint = "" if "=" in text else "; other arguments go before --cfg-options"
                parser.error(f"{option_string} {error.faults[0]}{hint}")
            same = [known for known in collected if parse_key(known) == parse_key(key) and collected[known] != value]
            if same:
                parser.error(f"{option_string} {key}: is given twice, as {collected[same[0]]!r} and as {value!r}")
            collected[key] = value
        setattr(namespace, self.dest, collected)


def add_cfg_options(parser: argparse.ArgumentParser, of: str = "the config") -> None:
    """Add the option to ``parser``; ``of`` says whose values it replaces."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=Overrides,
        metavar="KEY=VALUE",
        help=f"override values of {of}: model.loss.temperature=0.1 evaluators[0].ks=[1,10] "
        """'model.miner=dict(type="HardPairMiner")'; values are read as Python literals, anything else as a string""",
    )
