"""PDDM scores of all pairs of a set against the matrix products they consist of.

``python benchmarks/pddm.py``. Eq. 2 takes for each pair three products with a (d, d) matrix: W_u u, and both halves of
W_c. They are measured alone, in blocks of the size that is fastest here, and then the scores: of all ordered pairs, and
of a set with itself, where each pair is computed once. Values are first compared with Eq. 2 in float64. Seconds are the
processor's, all threads together, so that other work on the machine changes the ratios little.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable

import torch
from metricforge_pddm import PDDM
from rich.console import Console
from rich.table import Table
from torch import Tensor

BLOCKS = (512, 2048, 8192)
CHECKED = 24
MOST_TIMES = 3.0
MOST_BYTES = 10**9


def seconds(run: Callable[[], object], repeats: int = 1) -> float:
    """Processor seconds of the shortest of ``repeats`` runs."""
    measured = []
    for _ in range(repeats):
        started = time.process_time()
        run()
        measured.append(time.process_time() - started)
    return min(measured)


def products(pairs: int, dim: int) -> Callable[[], None]:
    """Run three products with a (dim, dim) matrix for each of ``pairs``, in the fastest block size."""
    weights = [torch.randn(dim, dim) for _ in range(3)]

    def run(count: int, rows: int) -> None:
        block, out = torch.randn(rows, dim), torch.empty(rows, dim)
        for _ in range(-(-count // rows)):
            for weight in weights:
                torch.mm(block, weight, out=out)

    fastest = min(BLOCKS, key=lambda rows: seconds(lambda: run(2**17, rows), repeats=3))
    return lambda: run(pairs, fastest)


def check(unit: PDDM, x: Tensor, scores: Tensor) -> None:
    """Compare the first scores with Eq. 2, pair by pair in float64."""
    rows = torch.nn.functional.normalize(x[:CHECKED].double())
    layers = {name: layer.double() for name, layer in PDDM(x.shape[1]).named_children() if name != "dropout"}
    for name, layer in layers.items():
        layer.load_state_dict(getattr(unit, name).state_dict())
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            u = torch.nn.functional.normalize(layers["difference"]((one - other).abs()).relu(), dim=0)
            v = torch.nn.functional.normalize(layers["mean"]((one + other) / 2).relu(), dim=0)
            expected = layers["score"](layers["combine"](torch.cat([u, v])).relu())
            torch.testing.assert_close(scores[i, j].double(), expected[0], rtol=1e-4, atol=1e-5)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@torch.no_grad()
def main() -> None:
    """Measure and print ratios; end with 1 if one is beyond its bound."""
    parser = argparse.ArgumentParser(description="PDDM scores of all pairs against their matrix products.")
    parser.add_argument("--images", type=int, default=5924, help="N (default: CUB-200-2011's 5,924 test images)")
    parser.add_argument("--dim", type=int, default=128, help="embedding size (default: 128)")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    unit, x = PDDM(arguments.dim).eval(), torch.randn(arguments.images, arguments.dim)
    copied = x.clone()  # another tensor of the same rows: every ordered pair is computed
    imported = peak_bytes()
    check(unit, x, unit.pairwise(x[:CHECKED], copied))
    in_products = seconds(products(arguments.images**2, arguments.dim))
    rows = {
        "all ordered pairs": seconds(lambda: unit.pairwise(x, copied)),
        "each pair once, as the search does": seconds(lambda: unit.pairwise(x, x)),
    }
    peak = peak_bytes()
    table = Table(
        "", "processor seconds", "times the products", title=f"{arguments.images:,} embeddings, d = {arguments.dim}"
    )
    table.add_row("three matrix products a pair", f"{in_products:.2f}", "1.00")
    for name, taken in rows.items():
        table.add_row(name, f"{taken:.2f}", f"{taken / in_products:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"peak memory: {(peak - imported) / 1e6:.0f} MB beyond what the imports take, {peak / 1e6:.0f} MB in all; "
        f"{torch.get_num_threads()} threads"
    )
    slow = [name for name, taken in rows.items() if taken > MOST_TIMES * in_products]
    if slow or peak - imported > MOST_BYTES:
        raise SystemExit(f"beyond {MOST_TIMES:g} times the products or {MOST_BYTES / 1e6:.0f} MB: {slow or 'memory'}")


if __name__ == "__main__":
    main()
