"""How many wrong labels the run doctor names, and the report's list of labels that look wrong.

    python benchmarks/wrong_labels.py PHOTOS

PHOTOS has a folder a class, as ``ImageFolderDataset`` reads it. A copy of it, of links, has ``--share`` of the images
in the folder of another class of the same half (training or test), drawn at random; ``--share 0`` shows what is said
where nothing was moved. A ``GlyphNet`` is trained on the first half of the classes. Printed are, for the doctor, which
judges the training images while they are learned, and for the report's rule, which judges the test images by the
trained model: how many images were moved, how many of these are named, and how many of those named were not moved.

The doctor says nothing where 1 % of the images or fewer look wrong (``doctor.doubtful``).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console

from metricforge import build_runner
from metricforge.run_records.history import read_history
from metricforge.run_report.opened_run import open_run
from metricforge.run_report.retrieval import retrieve
from metricforge.run_report.suspects import doubtful_labels


def link_photos(photos: Path, folder: Path, share: float, seed: int) -> set[str]:
    """Link ``photos`` into ``folder``, ``share`` of either half under another class of it; return those, by place."""
    draws, moved = np.random.default_rng(seed), set()
    classes = sorted(path.name for path in photos.iterdir() if path.is_dir())
    for half in (classes[: len(classes) // 2], classes[len(classes) // 2 :]):
        images = [image for name in half for image in sorted((photos / name).iterdir())]
        chosen = set(draws.permutation(len(images))[: round(share * len(images))].tolist())
        for number, image in enumerate(images):
            name = image.parent.name
            if number in chosen:
                name = half[(half.index(name) + int(draws.integers(1, len(half)))) % len(half)]
            place = folder / name / f"{image.parent.name}-{image.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(image.resolve())
            if number in chosen:
                moved.add(str(place))
    return moved


def configuration(folder: Path, epochs: int, side: int) -> dict[str, object]:
    """A config that trains a small network on ``folder``."""
    images = dict(type="ImageFolderDataset", root=str(folder), transform=[dict(type="Resize", size=(side, side))])
    return dict(
        model=dict(
            backbone=dict(type="GlyphNet"),
            head=dict(type="EmbeddingHead", dim=64, layer_norm=True),
            similarity=dict(type="CosineSimilarity"),
            loss=dict(type="NormSoftmaxLoss", temperature=0.1),
        ),
        train_dataloader=dict(
            dataset=dict(images, split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=24, samples_per_class=4),
        ),
        test_dataloader=dict(dataset=dict(images, split="test"), batch_size=256),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=2e-3)),
        train_cfg=dict(max_epochs=epochs),
    )


def told(who: str, moved: set[str], named: Iterable[str]) -> None:
    """Print how many of ``moved`` are among ``named``, and how many of these were not moved."""
    names = list(named)
    found = len(moved & set(names))
    wrong = f", {100 * (1 - found / len(names)):.0f} % of those named were not moved" if names else ""
    share = f" ({100 * found / len(moved):.0f} %)" if moved else ""
    print(f"{who}: {len(moved)} moved, {len(names)} named, {found} of them moved{share}{wrong}", flush=True)


def main() -> None:
    """Move, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--side", type=int, default=40, help="pixels of the images' sides")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        photos, run = Path(name) / "photos", Path(name) / "run"
        moved = link_photos(arguments.photos, photos, arguments.share, arguments.seed)
        config = configuration(photos, arguments.epochs, arguments.side) | dict(seed=arguments.seed)
        runner = build_runner(config, work_dir=run)
        runner.train()
        classes = {path.name for path in photos.iterdir()}
        training = set(sorted(classes)[: len(classes) // 2])
        said = [line["diagnosis"] for line in read_history(run) if "diagnosis" in line]
        for diagnosis in said:
            print(f"the doctor said ({diagnosis['kind']}): {diagnosis['text']}")
        named = {place for each in said if each["kind"] == "labels" for place in each["images"]}
        told("the doctor", {place for place in moved if Path(place).parent.name in training}, named)
        images = open_run(run, "run", Console(quiet=True)).images
        assert images is not None
        context = images.context
        doubtful = doubtful_labels(context, retrieve(context, 10), len(images.dataset))
        ids = context.queries.ids
        assert ids is not None
        places = [images.dataset.location(int(ids[each.query])) for each in doubtful]
        told("the report", {place for place in moved if Path(place).parent.name not in training}, places)


if __name__ == "__main__":
    main()
