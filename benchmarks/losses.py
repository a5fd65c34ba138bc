"""Losses against pytorch-metric-learning's on the same tensors: time and peak memory of forward + backward, as ratios.

    make bench
    .venv/bin/python benchmarks/losses.py --losses lifted triplet --batch-sizes 128 512 --dims 128 --theirs-gib 12

In each case the two totals and the two gradients are compared first, where both define the same loss; the table says
where they do not. Then they run in turn, in one process, and the best time of each counts, because whatever else the
machine does only ever adds to it. Memory is what one forward + backward needs at its peak beyond what was there before.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
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
    from pytorch_metric_learning.reducers import MeanReducer
except ImportError as error:
    sys.exit(
        f"pytorch-metric-learning cannot be imported ({error}); `make bench` installs it, or: pip install '.[bench]'"
    )

Their = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One loss of ours and theirs; ``differs`` says why their values cannot be compared, and is empty if they can."""

    ours: Loss
    theirs: Their
    differs: str = ""


def lifted(classes: int, dim: int) -> Case:
    """Eq. 4, on embeddings as they come."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="LiftedStructureLoss", margin=1.0))
    return Case(ours, their_losses.LiftedStructureLoss(neg_margin=1, pos_margin=0, distance=distance))


def contrastive(classes: int, dim: int) -> Case:
    """All pairs; the two definitions differ."""
    distance = LpDistance(normalize_embeddings=False)
    ours = LOSSES.build(dict(type="ContrastiveLoss", margin=1.0))
    theirs = their_losses.ContrastiveLoss(pos_margin=0, neg_margin=1, distance=distance)
    return Case(ours, theirs, "theirs is not squared, and a mean over the pairs above 0 of each type")


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


CASES: dict[str, Callable[[int, int], Case]] = {
    "lifted": lifted,
    "contrastive": contrastive,
    "triplet": triplet,
    "n-pairs": n_pairs,
    "margin": margin,
    "proxy-nca": proxy_nca,
    "normsoftmax": norm_softmax,
}


def their_bytes(name: str, batch: int, images: int) -> float:
    """A rough estimate of what theirs needs, from the largest tensors it makes."""
    positives = batch * (images - 1)  # ordered pairs
    if name == "lifted":  # about six matrices of positive by negative pairs
        return 6 * 4 * positives * batch**2
    if name in ("triplet", "margin"):  # a B x B x B mask, and three rows and six values a triplet
        mask = batch**3 if batch**3 < 2**31 else 0  # above that they go through the anchors one at a time
        return mask + 48 * positives * batch
    return 8 * 4 * batch**2


def main() -> None:
    """Parses the arguments, runs the cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--losses", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES)
    )
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[64, 128, 512, 2048], metavar="B")
    parser.add_argument("--dims", nargs="+", type=int, default=[128, 512], metavar="D")
    parser.add_argument("--images", type=int, default=4, help="of a class in a batch (default: 4)")
    parser.add_argument(
        "--classes", type=int, default=1000, help="proxies of the losses that have them (default: 1000)"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="to spend on each case (default: 1)")
    parser.add_argument("--theirs-gib", type=float, default=4.0, help="theirs is left out above that (default: 4)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    arguments = parser.parse_args()
    for size in arguments.batch_sizes:
        if size % arguments.images or size // arguments.images > arguments.classes:
            parser.error(
                f"--batch-sizes: {size} must be a multiple of --images ({arguments.images}) with at most --classes "
                f"({arguments.classes}) classes in it; raise --classes, or take another size"
            )
    torch.set_num_threads(arguments.threads)
    load_plugins()
    device = torch.device(arguments.device)

    print(f"torch {torch.__version__}, {device}, {arguments.threads} threads; {arguments.images} images a class")
    print("ratio = theirs / ours: above 1 ours is faster, or smaller")
    header = ("loss", "D", "B", "ours ms", "theirs ms", "ratio", "ours MB", "theirs MB", "ratio")
    print("{:12} {:>4} {:>5} {:>9} {:>10} {:>7} {:>8} {:>10} {:>6}".format(*header))
    for name in arguments.losses:
        for dim in arguments.dims:
            for batch in arguments.batch_sizes:
                print_row(name, dim, batch, arguments, device)


def print_row(name: str, dim: int, batch: int, arguments: argparse.Namespace, device: torch.device) -> None:
    """Measures one case and prints its row."""
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
        if not case.differs:
            compare(ours, theirs, embeddings)
    times = [1e3 * best for best in best_times(runs, arguments.seconds, embeddings)]
    peaks = [peak_megabytes(run, embeddings) for run in runs]
    row = f"{name:12} {dim:4} {batch:5} {times[0]:9.2f}"
    if len(runs) == 1:
        print(
            f"{row} {'-':>10} {'-':>7} {show(peaks[0]):>8}   theirs left out: about {estimate / 2**30:.0f} GiB",
            flush=True,
        )
        return
    memory = f"{peaks[1] / max(peaks[0], 0.1):.1f}" if peaks[0] is not None and peaks[1] is not None else "-"
    note = f"   not the same value: {case.differs}" if case.differs else ""
    slower = "   SLOWER" if times[0] > times[1] else ""
    print(
        f"{row} {times[1]:10.2f} {times[1] / times[0]:7.1f} {show(peaks[0]):>8} {show(peaks[1]):>10} {memory:>6}"
        f"{slower}{note}",
        flush=True,
    )


def show(megabytes: float | None) -> str:
    """A cell of the table."""
    return "-" if megabytes is None else f"{megabytes:.1f}"


def compare(ours: Callable[[], Tensor], theirs: Callable[[], Tensor], embeddings: Tensor) -> None:
    """Raises AssertionError unless the totals and the gradients of the embeddings agree."""
    found = []
    for run in (ours, theirs):
        total = run()
        (gradient,) = torch.autograd.grad(total, embeddings)
        found.append((total.detach(), gradient))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
    largest = found[1][1].abs().max().item()
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-3, atol=1e-3 * largest)


def best_times(runs: list[Callable[[], Tensor]], seconds: float, embeddings: Tensor) -> list[float]:
    """The shortest time of each, in seconds, over rounds in which all run in turn; three rounds at least."""
    best = [float("inf")] * len(runs)
    spent, rounds = 0.0, 0
    while rounds < 3 or spent < seconds:
        if spent > 3 * seconds and rounds:  # one round of a very slow loss is enough
            break
        for number, run in enumerate(runs):
            embeddings.grad = None
            wait(embeddings)
            start = time.perf_counter()
            run().backward()
            wait(embeddings)
            elapsed = time.perf_counter() - start
            spent += elapsed
            best[number] = min(best[number], elapsed)
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
    main()
