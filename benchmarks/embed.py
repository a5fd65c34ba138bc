"""Images a second of ``EmbeddingModel.embed`` and ``metricforge embed`` beside a hand-written timm + DataLoader loop.

    python benchmarks/embed.py

All read the same JPEGs of 500 x 375 pixels, which it makes, resize and crop them to ``--size`` pixels and compute the
same network (random weights, which changes no time) in this process, on one thread. The loop by hand is what timm and
torchvision document: ``ImageFolder``, ``Resize``, ``CenterCrop``, ``ToTensor`` and ``Normalize`` in a ``DataLoader``,
the network, a linear layer, L2 normalisation. The options of ``metricforge embed`` in float32 stand beside it:
``--channels-last``, and with ``--compile`` that too, which compiles for minutes before anything is timed. Passes of all
alternate; the ratio is that of the medians, in seconds of processor time, which other work on the machine disturbs
least. Before they are timed, the embeddings are compared.

ONNX Runtime and OpenVINO compute the exported graph on images that MetricForge reads. Exits with 1 where the ratio in
float32 is below 1.0, or that of ``--precision bf16 --channels-last`` below 1.5 on a processor that has bfloat16.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from data import make_images
from serve import make_model
from torch.nn.functional import normalize
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from metricforge import EmbeddingModel
from metricforge.deployment.embed_collection import embed_collection
from metricforge.deployment.given_images import GivenImages
from metricforge.deployment.graphs.export_model import export_model
from metricforge.deployment.image_collection import open_collection
from metricforge.functional.fast_bfloat16 import has_fast_bfloat16

FLOAT32, BFLOAT16 = 1.0, 1.5  # ratios
OPTIONS = (dict(channels_last=True), dict(compiled=True), dict(channels_last=True, compiled=True))
BY_HAND = "timm + DataLoader by hand"


def by_hand(model: EmbeddingModel, photos: Path, size: int, batch: int) -> Callable[[], np.ndarray]:
    """What one writes without MetricForge, with the network of ``model``."""
    backbone, linear = model.learner.backbone, model.learner.head.linear
    network, mean, std = backbone.model, list(backbone.mean), list(backbone.std)
    steps = [
        transforms.Resize(size),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ]
    loader = DataLoader(ImageFolder(photos, transforms.Compose(steps)), batch_size=batch)

    @torch.inference_mode()
    def embed() -> np.ndarray:
        return torch.cat([normalize(linear(network(images)), dim=1) for images, _ in loader]).numpy()

    return embed


def by_graph(
    model: EmbeddingModel, files: list[Path], batch: int, run: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Embeddings by ``run``, which takes normalised pixels, of images that MetricForge reads."""
    mean, std = (
        255 * torch.tensor(each).view(3, 1, 1) for each in (model.learner.backbone.mean, model.learner.backbone.std)
    )
    given = GivenImages(files, model.transform)
    blocks = []
    for start in range(0, len(files), batch):
        images = [given[number]["image"] for number in range(start, min(start + batch, len(files)))]
        blocks.append(run(((torch.stack(images).float() - mean) / std).numpy()))
    return np.concatenate(blocks)


def graphs(
    model: EmbeddingModel, photos: Path, files: list[Path], batch: int, folder: Path
) -> Iterator[tuple[str, Callable[[], np.ndarray]]]:
    """The engines that are installed, on the exported graph."""
    absent = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if absent:
        print(f"left out: ONNX Runtime and OpenVINO, as {', '.join(absent)} is not installed: pip install '.[onnx]'")
        return
    export_model(model, folder / "bundle", format="onnx", images=str(photos))
    graph = str(folder / "bundle" / "model.onnx")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options)
    yield "ONNX Runtime", lambda: by_graph(model, files, batch, lambda pixels: session.run(None, {"pixels": pixels})[0])
    if find_spec("openvino") is None:
        print("left out: OpenVINO, which is not installed: pip install '.[bench]'")
        return
    import openvino

    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1})
    yield "OpenVINO", lambda: by_graph(model, files, batch, lambda pixels: compiled(pixels)[0])


def core_seconds(embed: Callable[[], np.ndarray]) -> float:
    """Seconds of processor time that a pass takes."""
    started = time.process_time()
    embed()
    return time.process_time() - started


def main() -> None:
    """Compare, measure, print a row each, and exit with 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--compile", action="store_true", help="time compiled networks as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(measure(Path(temporary), arguments))


def measure(folder: Path, arguments: argparse.Namespace) -> int:
    """Print a row for each way to embed; return the exit status."""
    photos, batch = folder / "photos", arguments.batch
    make_images(photos, arguments.images)
    collection = open_collection(photos)
    files = [Path(collection.location(number)) for number in range(len(collection))]
    model = make_model(arguments.size)
    passes = iter(range(10**6))

    def command() -> np.ndarray:
        embed_collection(model, collection, folder / f"out-{next(passes)}", batch_size=batch)
        return np.empty(0)

    ways: dict[str, Callable[[], np.ndarray]] = {
        BY_HAND: by_hand(model, photos, arguments.size, batch),
        "EmbeddingModel.embed": lambda: model.embed(files, batch_size=batch, progress=False),
        "metricforge embed": command,
    }
    if has_fast_bfloat16("cpu"):
        fast = model.accelerated(precision="bfloat16", channels_last=True)
        ways["embed, bf16 and channels last"] = lambda: fast.embed(files, batch_size=batch, progress=False)
    else:
        print(
            f"not measured: --precision bf16 (at least {BFLOAT16:g}), as this processor has no avx512_bf16 or amx_bf16"
        )
    for options in OPTIONS if arguments.compile else OPTIONS[:1]:
        other = model.accelerated(**options)
        ways[f"embed, {' and '.join(options).replace('_', ' ')}"] = partial(
            other.embed, files, batch_size=batch, progress=False
        )
    ways |= dict(graphs(model, photos, files, batch, folder))
    expected = ways[BY_HAND]()
    for name, embed in ways.items():
        found = embed()
        if len(found):
            print(f"{name}: numbers differ from those by hand by at most {np.abs(found - expected).max():.1g}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(arguments.passes):
        for name, embed in ways.items():
            seconds[name].append(core_seconds(embed))
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print(f"\n{'':<32}{'images/s a core':>16}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:<32}{len(files) / median:>16.1f}{medians[BY_HAND] / median:>8.2f}")
    targets = dict.fromkeys(("EmbeddingModel.embed", "metricforge embed"), FLOAT32)
    targets["embed, bf16 and channels last"] = BFLOAT16
    return int(any(medians[BY_HAND] / medians[name] < target for name, target in targets.items() if name in medians))


if __name__ == "__main__":
    main()
