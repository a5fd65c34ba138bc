"""Losses against pytorch-metric-learning's on the same tensors: time and peak memory of forward + backward, as ratios.

    make bench
    .venv/bin/python benchmarks/losses.py --loss lifted triplet --sizes 128 512 --dims 128

In each case the two totals and the two gradients are compared first. Then both run in turn, in one process, again and
again for a fiftieth of a second at least, and the best time of each counts, because whatever else the machine does, the
other's traces in the caches among it, only ever adds to it. Memory is what one forward +
backward needs at its peak beyond what was there before. The column "product" is our time over that of one matrix
product of the embeddings with themselves, (B, D) by (D, B), which has its turns among the others. Exits with 1 where a
row misses its target.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from metricforge import LOSSES, Loss, load_plugins

try:
    from pytorch_metric_learning import losses as their_losses
    from pytorch_metric_learning.distances import DotProductSimilarity, LpDistance
    from pytorch_metric_learning.reducers import BaseReducer, MeanReducer
except ImportError as error:
    sys.exit(
        f"pytorch-metric-learning cannot be imported ({error}); `make bench` installs it, or: pip install '.[bench]'"
    )

Their = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One loss, ours and theirs, set up to give the same value."""

    ours: Loss
    theirs: Their


class MeanSquareOverAllPairs(BaseReducer):
    """Turns their hinges, one mean a type of pair, into Eq. 1's: squares, over the number of all pairs."""

    def pos_pair_reduction(self, losses: Tensor, indices: object, embeddings: Tensor, labels: Tensor) -> Tensor:
        return losses.square().sum() / (len(labels) * (len(labels) - 1))

    neg_pair_reduction = pos_pair_reduction


def lifted(classes: int, dim: int) -> Case:
    """Eq. 4, on embeddings as they come."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="LiftedStructureLoss", margin=1.0))
    return Case(ours, their_losses.LiftedStructureLoss(neg_margin=1, pos_margin=0, distance=distance))


def contrastive(classes: int, dim: int) -> Case:
    """All pairs."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="ContrastiveLoss", margin=1.0))
    theirs = their_losses.ContrastiveLoss(0, 1, distance=distance, reducer=MeanSquareOverAllPairs())
    return Case(ours, theirs)


def triplet(classes: int, dim: int) -> Case:
    """All triplets of the batch, the mean over all of them."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="TripletLoss", margin=0.2))
    return Case(ours, their_losses.TripletMarginLoss(margin=0.2, distance=distance, reducer=MeanReducer()))


def n_pairs(classes: int, dim: int) -> Case:
    """The first two images of each class, which is theirs' choice too."""
    ours = LOSSES.build(dict(type="NPairsLoss", pick="first"))
    return Case(ours, their_losses.NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False)))


def margin(classes: int, dim: int) -> Case:
    """All triplets of the batch, with a fixed boundary."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="MarginLoss", margin=0.2, beta=1.2, boundary="fixed"))
    return Case(ours, their_losses.MarginLoss(margin=0.2, beta=1.2, distance=distance))


def proxy_nca(classes: int, dim: int) -> Case:
    """Theirs has the sample's own class in the denominator, which ours has as an option."""
    ours = LOSSES.build(dict(type="ProxyNCALoss", scale=3.0, include_positive=True), num_classes=classes, dim=dim)
    theirs = their_losses.ProxyNCALoss(classes, dim, softmax_scale=3)
    theirs.proxies.data.copy_(ours.proxies.data)
    return Case(ours, theirs)


def norm_softmax(classes: int, dim: int) -> Case:
    """The same proxies in both."""
    ours = LOSSES.build(dict(type="NormSoftmaxLoss", temperature=0.05), num_classes=classes, dim=dim)
    theirs = their_losses.NormalizedSoftmaxLoss(classes, dim, temperature=0.05)
    theirs.W.data.copy_(ours.proxies.data.T)
    return Case(ours, theirs)


def proxy_anchor(classes: int, dim: int) -> Case:
    """The same proxies in both."""
    ours = LOSSES.build(dict(type="ProxyAnchorLoss"), num_classes=classes, dim=dim)
    theirs = their_losses.ProxyAnchorLoss(classes, dim)
    theirs.proxies.data.copy_(ours.proxies.data)
    return Case(ours, theirs)


def multi_similarity(classes: int, dim: int) -> Case:
    """All pairs. Theirs leaves anchors without a loss in its mean, as ours does."""
    theirs = their_losses.MultiSimilarityLoss(alpha=2, beta=50, base=0.5, reducer=MeanReducer())
    return Case(LOSSES.build(dict(type="MultiSimilarityLoss")), theirs)


CASES: dict[str, Callable[[int, int], Case]] = {
    "lifted": lifted,
    "contrastive": contrastive,
    "triplet": triplet,
    "n-pairs": n_pairs,
    "margin": margin,
    "proxy-nca": proxy_nca,
    "normsoftmax": norm_softmax,
    "proxy-anchor": proxy_anchor,
    "multi-similarity": multi_similarity,
}


SIZES = (64, 128, 512, 2048)
LARGEST_LIFTED = 8192
SECONDS_A_TURN = 0.02
PROXY_LOSSES = ("proxy-nca", "normsoftmax", "proxy-anchor")


def missed_targets(name: str, batch: int, ratio: float | None, products: float, megabytes: float | None) -> list[str]:
    """Which targets a row misses. ``ratio`` is None where theirs was left out, ``megabytes`` where unknown."""
    least = 1.0
    if name == "lifted":
        least = 1000 if batch >= 512 else 100 if batch >= 128 else 1
    elif name == "triplet" and batch == 512:  # in larger batches theirs takes the anchors one at a time
        least = 10
    missed = []
    if ratio is not None and ratio < least:
        missed.append(f"at least {least:g} times as fast as theirs")
    if name == "lifted" and batch >= 512 and products > 15:
        missed.append("at most 15 matrix products")
    if name == "lifted" and megabytes is not None and megabytes > 4096 * 1.048576:
        missed.append("at most 4 GiB")
    return missed


def half_of_memory() -> float:
    """GiB; 4 where the system does not say how much it has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**31
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return 4.0


def their_bytes(name: str, batch: int, images: int) -> float:
    """A rough estimate of what theirs needs, from the largest tensors it makes."""
    positives = batch * (images - 1)  # ordered pairs
    if name == "lifted":  # about six matrices of positive by negative pairs
        return 6 * 4 * positives * batch**2
    if name in ("triplet", "margin"):  # a B x B x B mask, and three rows and six values a triplet
        mask = batch**3 if batch**3 < 2**31 else 0  # above that they go through the anchors one at a time
        return mask + 48 * positives * batch
    return 8 * 4 * batch**2


def main() -> int:
    """Parse the arguments, run the cases and print the table; return 1 where a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loss", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    sizes = f"(default: {' '.join(map(str, SIZES))}, and {LARGEST_LIFTED} for lifted)"
    parser.add_argument("--sizes", nargs="+", type=int, metavar="B", help=f"of the batch {sizes}")
    parser.add_argument("--dims", nargs="+", type=int, default=[128, 512], metavar="D")
    parser.add_argument("--images", type=int, default=4, help="of a class in a batch (default: 4)")
    parser.add_argument(
        "--classes", type=int, default=1000, help="proxies of the losses that have them (default: 1000)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="to spend on each case (default: 1)")
    limit = "theirs is left out where it needs more (default: half the memory, %(default).1f)"
    parser.add_argument("--theirs-gib", type=float, default=half_of_memory(), help=limit)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    arguments = parser.parse_args()
    with_proxies = [name for name in arguments.loss if name in PROXY_LOSSES]
    for size in arguments.sizes or SIZES:
        if size < 1 or arguments.images < 1 or size % arguments.images:
            parser.error(f"--sizes: {size} must be a multiple of --images ({arguments.images}), both above 0")
        if with_proxies and size // arguments.images > arguments.classes:
            parser.error(
                f"--sizes: {size} has {size // arguments.images} classes, more than --classes ({arguments.classes}) "
                f"that {' and '.join(with_proxies)} have proxies for; raise --classes, or take a smaller size"
            )
    torch.set_num_threads(arguments.threads)
    load_plugins()
    device = torch.device(arguments.device)

    print(f"torch {torch.__version__}, {device}, {arguments.threads} threads; {arguments.images} images a class")
    print("ratio = theirs / ours: above 1 ours is faster, or smaller")
    header = ("loss", "D", "B", "ours ms", "theirs ms", "ratio", "product", "ours MB", "theirs MB", "ratio")
    print("{:16} {:>4} {:>5} {:>9} {:>10} {:>7} {:>7} {:>8} {:>10} {:>6}".format(*header))
    missed = 0
    for name in arguments.loss:
        sizes_of_it = arguments.sizes or [*SIZES, *([LARGEST_LIFTED] if name == "lifted" else [])]
        for dim in arguments.dims:
            for batch in sizes_of_it:
                missed += print_row(name, dim, batch, arguments, device)
    print("every target met" if not missed else f"{missed} rows missed a target")
    return int(missed > 0)


def print_row(name: str, dim: int, batch: int, arguments: argparse.Namespace, device: torch.device) -> bool:
    """Measure one case and print its row; return whether it missed a target."""
    torch.manual_seed(0)
    case = CASES[name](arguments.classes, dim)
    case.ours.to(device)
    embeddings = torch.nn.functional.normalize(torch.randn(batch, dim)).to(device).requires_grad_()
    labels = torch.arange(batch // arguments.images).repeat(arguments.images).to(device)

    def ours() -> Tensor:
        return case.ours(embeddings, labels).total

    def theirs() -> Tensor:
        return case.theirs(embeddings, labels)

    estimate = their_bytes(name, batch, arguments.images)
    runs = [ours]
    if estimate <= arguments.theirs_gib * 2**30:
        runs.append(theirs)
        compare(ours, theirs, embeddings)
    rows = embeddings.detach()
    steps = [functools.partial(step, run, embeddings) for run in runs]
    *times, product = best_times([*steps, lambda: rows @ rows.T], arguments.seconds, embeddings)
    peaks = [peak_megabytes(run, embeddings) for run in runs]
    products = times[0] / product
    ratio, memory_ratio, note = None, None, ""
    if len(runs) == 1:
        times, peaks = [*times, None], [*peaks, None]
        note = f"  theirs left out: about {estimate / 2**30:.0f} GiB"
    else:
        ratio = times[1] / times[0]
        if peaks[0] is not None and peaks[1] is not None:
            memory_ratio = peaks[1] / max(peaks[0], 0.1)
    missed = missed_targets(name, batch, ratio, products, peaks[0])
    milliseconds = [None if seconds is None else 1e3 * seconds for seconds in times]
    print(
        f"{name:16} {dim:4} {batch:5} {show(milliseconds[0], 2):>9} {show(milliseconds[1], 2):>10} {show(ratio):>7} "
        f"{show(products):>7} {show(peaks[0]):>8} {show(peaks[1]):>10} {show(memory_ratio):>6}{note}"
        + "".join(f"  MISSED: {target}" for target in missed),
        flush=True,
    )
    return bool(missed)


def show(value: float | None, digits: int = 1) -> str:
    """A cell of the table."""
    return "-" if value is None else f"{value:.{digits}f}"


def step(run: Callable[[], Tensor], embeddings: Tensor) -> None:
    """One forward and backward pass."""
    embeddings.grad = None
    run().backward()


def compare(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], embeddings: Tensor) -> None:
    """Raise AssertionError unless the totals and the gradients of the embeddings agree."""
    found = []
    for run in (ours, theirs):
        total = run()
        (gradient,) = torch.autograd.grad(total, embeddings)
        found.append((total.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    largest = found[1][1].abs().max().item()
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-3 * largest)


def best_times(runs: list[Callable[[], object]], seconds: float, embeddings: Tensor) -> list[float]:
    """The shortest time of each, in seconds, over rounds in which all have their turn; three rounds at least."""
    best = [float("inf")] * len(runs)
    spent, rounds = 0.0, 0
    while rounds < 3 or spent < seconds:
        if spent > 3 * seconds and rounds:  # one round of a very slow loss is enough
            break
        for number, run in enumerate(runs):
            turn = 0.0
            while turn < SECONDS_A_TURN:
                wait(embeddings)
                start = time.perf_counter()
                run()
                wait(embeddings)
                elapsed = time.perf_counter() - start
                turn += elapsed
                best[number] = min(best[number], elapsed)
            spent += turn
        rounds += 1
    return best


def wait(embeddings: Tensor) -> None:
    """Until the device has done what it was given."""
    if embeddings.is_cuda:
        torch.cuda.synchronize()


def peak_megabytes(run: Callable[[], Tensor], embeddings: Tensor) -> float | None:
    """What one forward + backward adds at its peak, in MB; None where the system cannot say (no CUDA, no Linux)."""
    embeddings.grad = None
    gc.collect()
    if embeddings.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run().backward()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    if not sys.platform.startswith("linux"):
        return None
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # so that what it keeps for later does not hide what is needed now
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    except (OSError, AttributeError):  # another C library, or a sandbox
        return None
    before = status_kilobytes("VmRSS")
    run().backward()
    return (status_kilobytes("VmHWM") - before) * 1024 / 1e6


def status_kilobytes(field: str) -> int:
    """A field of this process's memory, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


if __name__ == "__main__":
    sys.exit(main())
