"""The arguments of ``metricforge serve``."""

from __future__ import annotations

import argparse

from metricforge.cli.parsers.values import at_least_1, memory_size, named_path, port_number, proxy_address


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them to ``parser``."""
    parser.add_argument("index", metavar="INDEX", type=named_path, help="an index built by metricforge index")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: %(default)s, reachable from this machine only; 0.0.0.0: from anywhere)",
    )
    parser.add_argument(
        "--port", type=port_number, default=8000, help="port to listen on; 0: any free port (default: %(default)s)"
    )
    parser.add_argument(
        "--token-file",
        type=named_path,
        metavar="FILE",
        help="file with the token that clients need to add and remove images (default: nobody can)",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    parser.add_argument(
        "--proxy",
        type=proxy_address,
        metavar="ADDRESS",
        help="IP address or network of a reverse proxy whose X-Forwarded-For header names the client",
    )
    limits = parser.add_argument_group("limits, beyond which requests are refused with a reason")
    limits.add_argument(
        "--max-body", type=memory_size, default=16 * 2**20, metavar="SIZE", help="size of a request (default: 16 MiB)"
    )
    limits.add_argument(
        "--max-pixels",
        type=at_least_1,
        default=50_000_000,
        metavar="N",
        help="pixels of an image (default: 50 million)",
    )
    limits.add_argument(
        "--max-k", type=at_least_1, default=100, metavar="K", help="neighbours per search (default: %(default)s)"
    )
    limits.add_argument(
        "--max-waiting",
        type=at_least_1,
        default=128,
        metavar="N",
        help="requests in progress or waiting; others are told to retry (default: %(default)s)",
    )
    limits.add_argument(
        "--max-seconds", type=at_least_1, default=30, metavar="N", help="seconds per request (default: %(default)s)"
    )
    limits.add_argument(
        "--max-rate", type=at_least_1, default=600, metavar="N", help="requests per client and minute (default: 600)"
    )
