"""How long 64 people wait who search at once, against what the fastest batch takes for all of them; and the memory.

    python benchmarks/serve.py

It makes photographs of 500 x 375 pixels, an index of some and a model (EfficientNet-Lite0 at 128 pixels, with random
weights, which changes no time), and starts ``metricforge serve`` as a process of its own. The *best batch's share* is
the least time in which ``EmbeddingModel.embed`` embeds as many photographs as there are clients, over batch sizes, in a
process that does nothing else. Each client then sends a photograph to ``/search``, waits for the answer and sends the
next. Rounds of the two alternate, so that a busy machine slows both down; the ratio is the median of the rounds'.

Memory: the largest resident set of the server's process, before any search, after all rounds, and after a flood of
eight times as many clients, of which the server may refuse some. Clients and server share the processor. Exits
with 1 where the ratio of the 95th percentile is above 3, or the flood takes more than 1.5 times the memory.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np
import torch
from data import make_images

from metricforge import EmbeddingModel
from metricforge.deployment.image_collection import open_collection
from metricforge.deployment.model_description import ModelDescription
from metricforge.index import build_index
from metricforge.models import MetricLearner

MOST_RATIO, MOST_GROWTH = 3.0, 1.5
BATCHES = (1, 4, 8, 16, 64)
PHOTOS = 64
FLOOD = 8  # times as many clients


def make_model(size: int) -> EmbeddingModel:
    """An untrained model of the shape that the configs of photographs train."""
    architecture = dict(
        backbone=dict(type="TimmBackbone", name="tf_efficientnet_lite0", pretrained=False),
        head=dict(type="EmbeddingHead", dim=128),
        similarity=dict(type="CosineSimilarity"),
    )
    preprocessing = (dict(type="Resize", size=size), dict(type="CenterCrop", size=size))
    torch.manual_seed(0)
    learner = MetricLearner.from_config(architecture, None)
    return EmbeddingModel(learner, ModelDescription(architecture, preprocessing), torch.device("cpu"), "here")


def seconds_of_batches(model: EmbeddingModel, photos: Sequence[bytes], batch: int) -> float:
    """Seconds in which the model embeds ``photos``, ``batch`` at a time."""
    started = time.perf_counter()
    model.embed(photos, batch_size=batch, progress=False)
    return time.perf_counter() - started


async def ask(url: str, photos: Sequence[bytes], clients: int, requests: int) -> tuple[list[float], int, float]:
    """Seconds of each answer while ``clients`` send ``requests`` each, how many were refused, and seconds of all."""
    seconds: list[float] = []
    refused = 0

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal refused
        for request in range(requests):
            form = aiohttp.FormData()
            form.add_field("image", photos[(number + clients * request) % len(photos)], filename="photo.jpg")
            started = time.perf_counter()
            try:
                async with session.post(f"{url}search", data=form) as answer:
                    text = await answer.text()
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):  # refused before all of it was sent
                refused += 1
                continue
            if answer.status == 200:
                seconds.append(time.perf_counter() - started)
            elif answer.status == 503:
                refused += 1
            else:
                raise RuntimeError(f"status {answer.status}: {text}")

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(client(session, number) for number in range(clients)))
        return seconds, refused, time.perf_counter() - started


def most_memory(process: int) -> float:
    """The largest resident set so far of ``process``, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text()).group(1)) / 1024  # type: ignore[union-attr]


def main() -> None:
    """Measure, print both sides and their ratio, and exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2, help="of each client in a round (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="side of what the network sees (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_images(folder / "photos", PHOTOS)
        photos = [file.read_bytes() for file in sorted((folder / "photos").rglob("*.jpg"))]
        model = make_model(arguments.size)
        build_index(model, open_collection(folder / "photos"), folder / "index")
        command = ["-m", "metricforge", "serve", str(folder / "index"), "--port", "0", "--max-rate", "10000000"]
        server = subprocess.Popen([sys.executable, "-u", *command], stdout=subprocess.PIPE, text=True)
        try:
            missed = measure(server, model, photos, arguments)
        finally:
            server.terminate()
            server.wait(30)
    sys.exit(1 if missed else 0)


def measure(
    server: subprocess.Popen[str], model: EmbeddingModel, photos: Sequence[bytes], arguments: argparse.Namespace
) -> bool:
    """Print everything that was measured; return whether a target is missed."""
    url = re.search(r"http://\S+/", server.stdout.readline()).group()  # type: ignore[union-attr]
    clients = arguments.clients
    asyncio.run(ask(url, photos, 1, 8))  # the model is loaded by the first
    at_first = most_memory(server.pid)
    sample = [photos[number % len(photos)] for number in range(clients)]
    seconds_of_batches(model, sample, clients)
    batches: dict[int, list[float]] = {size: [] for size in BATCHES if size <= clients}
    rounds: list[tuple[float, float, float]] = []
    one: list[float] = []
    print(
        f"{'round':>5} {'best batch':>10} {'its share s':>11} {'median s':>9} {'p95 s':>7} {'ratio':>6} {'images/s':>9}"
    )
    for number in range(arguments.rounds):
        taken = {size: seconds_of_batches(model, sample, size) for size in batches}
        for size, seconds in taken.items():
            batches[size].append(seconds)
        best = min(taken, key=lambda size: taken[size])
        answers, refused, whole = asyncio.run(ask(url, photos, clients, arguments.requests))
        if refused:
            raise RuntimeError(f"{refused} requests of {clients} clients were refused: that is no time of an answer")
        one += asyncio.run(ask(url, photos, 1, 8))[0]
        p95 = float(np.quantile(answers, 0.95))
        rounds.append((taken[best], p95, p95 / taken[best]))
        print(
            f"{number + 1:5} {best:10} {taken[best]:11.3f} {statistics.median(answers):9.3f} {p95:7.3f} "
            f"{p95 / taken[best]:6.2f} {len(answers) / whole:9.1f}"
        )
    ratio = statistics.median(each[2] for each in rounds)
    after = most_memory(server.pid)
    print(
        "\nbatch, s for all: " + ", ".join(f"{size}: {statistics.median(each):.3f}" for size, each in batches.items())
    )
    print(f"one client alone: median {statistics.median(one):.3f} s")
    print(f"p95 of {clients} clients / best batch's share: {ratio:.2f} (at most {MOST_RATIO:g})")
    answers, refused, _ = asyncio.run(ask(url, photos, FLOOD * clients, 1))
    flooded = most_memory(server.pid)
    print(
        f"memory of the server, MiB: {at_first:.0f} with one client, {after:.0f} after {clients}, {flooded:.0f} after "
        f"{FLOOD * clients} ({len(answers)} answered, {refused} told to come back)"
    )
    return ratio > MOST_RATIO or flooded > MOST_GROWTH * after


if __name__ == "__main__":
    main()
