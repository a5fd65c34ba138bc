"""Whether what a run chooses is ever worse than the frozen feature: seeds times data sets, small budgets.

    python benchmarks/readout.py --weights tf_efficientnet_lite0.pth --images cars=FOLDER --images omniglot=FOLDER

Each folder has one sub-folder a class; Glyphs are always among the sets. For each set and seed, random classes with a
few images each are trained for a few epochs by `normsoftmax_folder`, from a pretrained EfficientNet-Lite0: one half of
the classes trains, a quarter of that half chooses, the other half is scored. Differences between the chosen model and
the frozen feature are of Recall@1 on the same queries; intervals (95 %) draw test classes with replacement.

``--vectors`` embeds the same images once by the pretrained network, and trains `normsoftmax_vectors` on what it gives:
then the vectors are what the choice is compared with. ``--no-glyphs`` leaves Glyphs out.

Exits with 1 where the chosen model is below the frozen feature more than once in twenty, or by more than the interval.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from metricforge import BACKBONES, build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.datasets.glyphs.glyph_dataset import GlyphDataset
from metricforge.engine.loading.data_loading import build_test_loader
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.engine.metric_runner import MetricRunner
from metricforge.evaluation.results.class_bootstrap import percentile_interval, resampled_means
from metricforge.evaluators import RecallAtK
from metricforge.heads import EmbeddingHead
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity

ALLOWED = 0.05  # of the pairs may be below the frozen feature
SIDE = 64  # of an image, in pixels
LEVEL, RESAMPLES = 0.95, 10_000
SCORE = "recall@1"


def write_glyphs(folder: Path) -> None:
    """Write Glyphs as a folder of pictures, one sub-folder a class."""
    for split in ("train", "test"):
        dataset = GlyphDataset(split=split)  # type: ignore[arg-type]
        for index, label in enumerate(dataset.labels):
            target = folder / f"{split}_{label:04}"
            target.mkdir(exist_ok=True, parents=True)
            dataset.load(index).save(target / f"{index}.png")


def draw_classes(source: Path, target: Path, classes: int, images: int, seed: int) -> None:
    """Copy ``images`` each of ``classes`` random class folders of ``source`` into ``target``."""
    draws = np.random.default_rng(seed)
    folders = sorted(folder for folder in source.iterdir() if folder.is_dir())
    for number, index in enumerate(draws.permutation(len(folders))[:classes]):
        files = sorted(path for path in folders[index].rglob("*") if path.is_file())
        (target / f"{number:03}").mkdir(parents=True)
        for place in draws.permutation(len(files))[:images]:
            shutil.copy(files[place], target / f"{number:03}")


def train(photos: Path, folder: Path, seed: int, arguments: argparse.Namespace) -> MetricRunner:
    """Train on ``photos`` into ``folder``."""
    runner = build_runner(
        "normsoftmax_folder",
        overrides={
            "data_root": str(photos),
            "model.backbone.weights": str(arguments.weights),
            "train_dataloader.dataset.transform.0.size": SIDE,
            "test_dataloader.dataset.transform.0.size": (SIDE, SIDE),
            "train_dataloader.num_workers": 0,
            "test_dataloader.num_workers": 0,
            "train_cfg.max_epochs": arguments.epochs,
            "validation": 0.25,
            "evaluators": [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR")],
        },
        work_dir=folder,
        seed=seed,
        device="cpu",
        console=Console(quiet=True),
    )
    runner.train()
    return runner


def train_on_vectors(photos: Path, folder: Path, seed: int, arguments: argparse.Namespace) -> MetricRunner:
    """Train on what the pretrained network makes of ``photos`` into ``folder``."""
    cpu = torch.device("cpu")
    resize = dict(type="Resize", size=(SIDE, SIDE))
    dataset = ImageFolderDataset(root=photos, split="all", transform=[resize])
    network = dict(type="TimmBackbone", name="tf_efficientnet_lite0", weights=str(arguments.weights))
    backbone = BACKBONES.build(network)
    frozen = MetricLearner(backbone, EmbeddingHead(backbone.feature_dim, l2_normalize=False), CosineSimilarity())
    embedded = embed_dataset(frozen, build_test_loader(dataset, batch_size=64, num_workers=0, device=cpu), cpu)
    assert embedded is not None
    np.savez(photos / "vectors.npz", embeddings=embedded.embeddings, labels=embedded.labels)
    runner = build_runner(
        "normsoftmax_vectors",
        overrides={
            "data_root": str(photos),
            "train_cfg.max_epochs": 10,
            "validation": 0.25,
            "evaluators": [dict(type="RecallAtK", ks=[1]), dict(type="MAPAtR")],
        },
        work_dir=folder,
        seed=seed,
        device=cpu,
        console=Console(quiet=True),
    )
    runner.train()
    return runner


def compare(runner: MetricRunner) -> dict[str, Any]:
    """Say what was chosen, and how it compares with the frozen feature, or the vectors, on the test classes."""
    name = "vectors" if "vectors" in runner.cfg.baselines else "frozen"
    frozen = MetricLearner.from_config(runner.cfg.baselines[name], None)
    contexts = [runner.test_loop.context, runner.test_loop.embed(frozen)]
    hits = [RecallAtK(ks=[1]).per_query(context)[SCORE].astype(float) for context in contexts]  # (Q,) each
    difference = hits[0] - hits[1]
    means = resampled_means(difference[:, None], contexts[0].queries.labels, RESAMPLES, seed=0)
    lower, upper = (float(end[0]) for end in percentile_interval(means, LEVEL))
    table = json.loads((runner.run_dir / "readout.json").read_text())
    chosen = table["candidates"][table["chosen"]]
    return {
        "chosen": f"{chosen['weights']}, {chosen['layer']}",
        "dim": chosen["dim"],
        "frozen": float(hits[1].mean()),
        "adapted": runner.baseline_scores["adapted"][SCORE],
        "result": float(hits[0].mean()),
        "difference": [float(difference.mean()), lower, upper],
    }


def show(results: list[dict[str, Any]], console: Console) -> None:
    """Print one row a run."""
    table = Table(box=None, pad_edge=False)
    for column in ("set", "seed", "frozen", "adapted", "chosen", "difference", "what was chosen", "dimensions"):
        table.add_column(column)
    for each in results:
        scores = (f"{100 * each[name]:.1f}" for name in ("frozen", "adapted", "result"))
        middle, low, high = (100 * value for value in each["difference"])
        told = f"{middle:+.1f} ({low:+.1f} to {high:+.1f})"
        table.add_row(each["set"], str(each["seed"]), *scores, told, each["chosen"], f"{each['dim']:,}")
    console.print(table)


def main() -> None:
    """Run all pairs, print their table, and exit with 1 where the choice was worse than frozen too often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of timm's tf_efficientnet_lite0")
    parser.add_argument("--images", action="append", default=[], metavar="NAME=FOLDER", help="a set; may be repeated")
    parser.add_argument("--seeds", type=int, default=5, help="seeds a set (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=80, help="of each set (default: %(default)s)")
    parser.add_argument("--per-class", type=int, default=16, help="images a class at most (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=3, help="of each run (default: %(default)s)")
    parser.add_argument("--vectors", action="store_true", help="train on vectors of the images")
    parser.add_argument("--no-glyphs", action="store_true", help="compare on the sets of --images alone")
    parser.add_argument("--keep", type=Path, help="a folder that the runs stay in")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results, started = [], time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        sets = {} if arguments.no_glyphs else {"glyphs": Path(temporary) / "glyphs"}
        if sets:
            write_glyphs(sets["glyphs"])
        train_one = train_on_vectors if arguments.vectors else train
        sets |= {name: Path(folder) for name, _, folder in (one.partition("=") for one in arguments.images)}
        for seed in range(arguments.seeds):
            for name, source in sets.items():
                photos = Path(temporary) / f"{name}_{seed}"
                draw_classes(source, photos, arguments.classes, arguments.per_class, seed)
                folder = (arguments.keep or Path(temporary) / "runs") / f"{name}_{seed}"
                results.append({"set": name, "seed": seed} | compare(train_one(photos, folder, seed, arguments)))
                print(json.dumps(results[-1]), flush=True)
    console = Console(width=140)
    show(results, console)
    below = [each for each in results if each["difference"][0] < 0]
    clearly = [each for each in below if each["difference"][2] < 0]
    console.print(
        f"at least as good as frozen in {len(results) - len(below)} of {len(results)}, within the interval in "
        f"{len(results) - len(clearly)}; {(time.perf_counter() - started) / 60:.1f} minutes"
    )
    sys.exit(bool(clearly) or len(below) > ALLOWED * len(results))


if __name__ == "__main__":
    main()
