"""The arguments of ``metricforge serve``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import at_least_1, memory_size, named_path, port_number, proxy_address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("index", metavar="INDEX", type=named_path, help="an index that metricforge index built")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="the address to listen at (default: %(default)s, which this machine alone reaches; 0.0.0.0: all do)",
    )
    parser.add_argument("--port", type=port_number, default=8000, help="0: one that is free (default: %(default)s)")
    parser.add_argument(
        "--token-file",
        type=named_path,
        metavar="FILE",
        help="a file with the token that adding and removing images needs (default: nobody may)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--proxy",
        type=proxy_address,
        metavar="ADDRESS",
        help="of a proxy in front, or its network, whose X-Forwarded-For says who the client is",
    )
    limits = parser.add_argument_group("limits, beyond which a request is refused with a reason")
    limits.add_argument(
        "--max-body", type=memory_size, default=16 * 2**20, metavar="SIZE", help="of a request (default: 16 MiB)"
    )
    limits.add_argument(
        "--max-pixels", type=at_least_1, default=50_000_000, metavar="N", help="of an image (default: 50 million)"
    )
    limits.add_argument("--max-k", type=at_least_1, default=100, metavar="K", help="neighbours (default: %(default)s)")
    limits.add_argument(
        "--max-waiting",
        type=at_least_1,
        default=128,
        metavar="N",
        help="requests worked on or waiting; more are told to come back (default: %(default)s)",
    )
    limits.add_argument(
        "--max-seconds", type=at_least_1, default=30, metavar="N", help="of a request (default: %(default)s)"
    )
    limits.add_argument(
        "--max-rate", type=at_least_1, default=600, metavar="N", help="a client's requests a minute (default: 600)"
    )
