"""What many tests share: small real runs, tiny copies of the benchmarks, and embedding sets that are hard to rank."""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from metricforge.errors import TrainingStopped
from metricforge.preparation import index_shards
from metricforge.structures import EmbeddingSet


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight classes of six 24 x 24 images: a colour a class, with noise."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(8):
        folder = root / f"class_{number}"
        folder.mkdir()
        colour = rng.integers(40, 216, size=3)
        for image in range(6):
            pixels = np.clip(colour + rng.normal(0, 25, size=(24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


@pytest.fixture(scope="session")
def folder_of_24_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four 16 x 16 images a class: half of the classes, twelve, are enough to set some aside."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for number in range(24):
        folder = root / f"class_{number:02}"
        folder.mkdir()
        colour = rng.integers(40, 216, size=3)
        for image in range(4):
            pixels = np.clip(colour + rng.normal(0, 40, size=(16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.png")
    return root


@pytest.fixture
def tiny_config(image_folder: Path) -> dict[str, Any]:
    """Trains in a second, and draws random numbers wherever one can: crops, flips, dropout, miner."""
    return dict(
        model=dict(
            backbone=dict(type="GlyphNet"),
            head=dict(type="EmbeddingHead", dim=8, dropout=0.3),
            similarity=dict(type="EuclideanSimilarity"),
            miner=dict(type="RandomTripletMiner"),
            loss=dict(type="TripletLoss", margin=0.5),
        ),
        train_dataloader=dict(
            dataset=dict(
                type="ImageFolderDataset",
                root=str(image_folder),
                split="train",
                transform=[dict(type="RandomCrop", size=16), dict(type="RandomHorizontalFlip")],
            ),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=2, samples_per_class=2),
        ),
        test_dataloader=dict(
            dataset=dict(
                type="ImageFolderDataset",
                root=str(image_folder),
                split="test",
                transform=[dict(type="CenterCrop", size=16)],
            ),
            batch_size=7,
        ),
        evaluators=[dict(type="RecallAtK", ks=[1, 2]), dict(type="MAPAtR"), dict(type="NMI")],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
        param_scheduler=[dict(type="CosineAnnealingLR", T_max=3, begin=0, end=3, convert_to_iter_based=True)],
        train_cfg=dict(max_epochs=3, log_interval=2),
        seed=3,
    )


def _picture(path: Path, colour: int, side: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([colour, *path.name.encode()]).integers(-20, 21, size=(side, side, 3))
    Image.fromarray(np.clip(colour + noise, 0, 255).astype(np.uint8)).save(path, format="JPEG", quality=95)


def _cub200(root: Path) -> None:
    """Classes 1, 2, 100 and 101, 102, 200, out of order, four images each."""
    names = {200: "200.Wren", 1: "001.Albatross", 101: "101.Pelican", 2: "002.Auk", 100: "100.Gull", 102: "102.Jay"}
    files = [(n, f"{name}/bird_{copy}.jpg") for n, name in names.items() for copy in (4, 2, 3, 1)]
    for number, file in files:
        _picture(root / "images" / file, number)
    (root / "images.txt").write_text("".join(f"{i} {file}\n" for i, (_, file) in enumerate(files, start=1)))
    (root / "image_class_labels.txt").write_text("".join(f"{i} {n}\n" for i, (n, _) in enumerate(files, start=1)))
    (root / "classes.txt").write_text("".join(f"{n} {name}\n" for n, name in sorted(names.items())))
    boxes = "".join(f"{i} 2.0 1.0 20.0 16.0\n" for i in range(1, len(files) + 1))
    (root / "bounding_boxes.txt").write_text(boxes)


def _annotations(columns: dict[str, list[Any]]) -> np.ndarray[Any, Any]:
    """A MATLAB struct array as the official files hold one: one row, a field a column."""
    rows = np.empty((1, len(columns["class"])), dtype=[(name, object) for name in columns])
    for name, values in columns.items():
        rows[name][0] = values
    return rows


def _box_columns(count: int) -> dict[str, list[Any]]:
    return {"bbox_x1": [3] * count, "bbox_y1": [2] * count, "bbox_x2": [20] * count, "bbox_y2": [17] * count}


CAR_CLASSES = (1, 98, 99, 196)


def _cars196(root: Path) -> None:
    """The older layout: classes 1, 98, 99 and 196, four images each, official parts mixed."""
    numbers = [number for _ in range(4) for number in CAR_CLASSES]
    files = [f"car_ims/{i:06d}.jpg" for i in range(1, len(numbers) + 1)]
    for number, file in zip(numbers, files, strict=True):
        _picture(root / file, number)
    columns = {"relative_im_path": files, **_box_columns(len(files)), "class": numbers}
    annotations = _annotations(columns | {"test": [i % 2 for i in range(len(files))]})
    names = np.array([[f"Car {n}" for n in range(1, 197)]], dtype=object)
    scipy.io.savemat(root / "cars_annos.mat", {"annotations": annotations, "class_names": names})


def _cars196_devkit(root: Path) -> None:
    """The later layout: the same cars in two folders, two image of each class in each."""
    (root / "devkit").mkdir(parents=True)
    for part, list_file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        numbers = [number for _ in range(2) for number in CAR_CLASSES]
        files = [f"{i:05d}.jpg" for i in range(1, len(numbers) + 1)]
        for number, file in zip(numbers, files, strict=True):
            _picture(root / f"cars_{part}" / file, number)
        annotations = _annotations({**_box_columns(len(files)), "class": numbers, "fname": files})
        scipy.io.savemat(root / list_file, {"annotations": annotations})
    names = np.array([[f"Car {n}" for n in range(1, 197)]], dtype=object)
    scipy.io.savemat(root / "devkit" / "cars_meta.mat", {"class_names": names})


def _cars196_tree(root: Path) -> None:
    """A tree of numbered class folders under train/ and test/."""
    for number in CAR_CLASSES:
        for copy in range(4):
            part = "train" if copy % 2 else "test"
            _picture(root / part / f"{number:03d}.Car_{number}" / f"{copy}.jpg", number)


def _sop(root: Path) -> None:
    """Three products of two kinds to train, three others to test, four pictures each."""
    for split, products in (("train", {1: 1, 2: 1, 3: 2}), ("test", {11: 2, 12: 1, 13: 1})):
        lines = ["image_id class_id super_class_id path"]
        for product, kind in products.items():
            for copy in range(4):
                file = f"{('bicycle', 'cabinet')[kind - 1]}_final/{1000 + product}_{copy}.JPG"
                _picture(root / file, 15 * product)
                lines.append(f"{len(lines)} {product} {kind} {file}")
        (root / f"Ebay_{split}.txt").write_text("\n".join(lines) + "\n")


def _inshop(root: Path) -> None:
    """Three items to train, three to test with one query and three gallery pictures each."""
    lines = []
    for item in range(1, 7):
        for view in range(4):
            file = f"img/WOMEN/Dresses/id_{item:08d}/02_{view}_front.jpg"
            _picture(root / file, 35 * item)
            part = "train" if item <= 3 else "gallery" if view else "query"
            lines.append(f"{file}    id_{item:08d}    {part}")
    header = f"{len(lines)}\nimage_name item_id evaluation_status\n"
    (root / "list_eval_partition.txt").write_text(header + "\n".join(lines) + "\n")


LAYOUTS = {
    "cub200": _cub200,
    "cars196": _cars196,
    "cars196_devkit": _cars196_devkit,
    "cars196_tree": _cars196_tree,
    "sop": _sop,
    "inshop": _inshop,
}


@pytest.fixture
def make_benchmark() -> Callable[[str, Path], Path]:
    """Makes a tiny copy of a benchmark in its official layout: the right names and list files, a few classes."""

    def make(name: str, root: Path) -> Path:
        root.mkdir(parents=True)
        LAYOUTS[name](root)
        return root

    return make


def _random() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.normal(size=(60, 7)), generator.integers(0, 9, 60)


def _grid_of_duplicates() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    return generator.integers(0, 3, (70, 2)).astype(float) + 1, generator.integers(0, 4, 70)


def _three_places_beyond_the_spare_candidates() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    places = np.array([[1.0, 0.0, 2.0], [0.5, 3.0, 1.0], [4.0, 4.0, -1.0]])
    return places[generator.integers(0, 3, 150)], generator.integers(0, 5, 150)


def _collapsed() -> tuple[np.ndarray, np.ndarray]:
    return np.full((90, 3), 0.3), np.arange(90) % 4


def _one_image_classes() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    return generator.normal(size=(30, 3)), np.concatenate([np.arange(20), np.full(10, 99)])


def _one_class() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(5).normal(size=(25, 4)), np.zeros(25, dtype=np.int64)


def _two_images() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([3, 3])


def _duplicate_of_another_class() -> tuple[np.ndarray, np.ndarray]:
    return np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.1], [0.0, 5.0]]), np.array([0, 1, 0, 1])


SETS = (
    _random,
    _grid_of_duplicates,
    _three_places_beyond_the_spare_candidates,
    _collapsed,
    _one_image_classes,
    _one_class,
    _two_images,
    _duplicate_of_another_class,
)


@pytest.fixture(params=SETS, ids=lambda make: make.__name__.strip("_"))
def hard_set(request: pytest.FixtureRequest) -> EmbeddingSet:
    embeddings, labels = request.param()
    ids = np.random.default_rng(9).permutation(len(labels)) + 1000  # ids that are no positions
    return EmbeddingSet(embeddings.astype(np.float32), labels.astype(np.int64), ids=ids)


def _score(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    if kind == "cosine":
        return math.fsum(a * b for a, b in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))
    return -math.fsum((a - b) ** 2 for a, b in zip(x, y, strict=True))


@pytest.fixture
def brute_force() -> Callable[..., list[list[int]]]:
    """Full rankings by Python's sort on float64 scores of every pair, ties by index."""

    def rank(kind: str, queries: np.ndarray, gallery: np.ndarray, exclude_self: bool) -> list[list[int]]:
        rankings = []
        for q, query in enumerate(queries.astype(np.float64)):
            others = [g for g in range(len(gallery)) if not (exclude_self and g == q)]
            scores = [_score(kind, query, image) for image in gallery.astype(np.float64)]
            rankings.append(sorted(others, key=lambda g, scores=scores: (-scores[g], g)))
        return rankings

    return rank


def _overlapping_sets() -> tuple[EmbeddingSet, EmbeddingSet]:
    """Queries of which some stand in the gallery under the same id, some have a class it lacks, and duplicates."""
    generator = np.random.default_rng(6)
    places = generator.integers(0, 3, (40, 3)).astype(np.float32) + 1
    labels = generator.integers(0, 6, 40)
    labels[3] = 77
    queries = EmbeddingSet(places[:20], labels[:20], ids=np.arange(20))
    gallery = EmbeddingSet(places[10:], labels[10:], ids=np.arange(10, 40))
    return queries, gallery


@pytest.fixture
def overlapping_sets() -> tuple[EmbeddingSet, EmbeddingSet]:
    return _overlapping_sets()


@pytest.fixture
def rankings_of_overlapping(
    overlapping_sets: tuple[EmbeddingSet, EmbeddingSet], brute_force: Callable[..., list[list[int]]]
) -> list[list[bool]]:
    """For each query with a match: whether each of the ranked others is of its class."""
    queries, gallery = overlapping_sets
    rows = brute_force("euclidean", queries.embeddings, gallery.embeddings, False)
    right = [
        [bool(gallery.labels[g] == queries.labels[q]) for g in row if gallery.ids[g] != queries.ids[q]]
        for q, row in enumerate(rows)
    ]
    assert len([row for row in right if any(row)]) < len(right)
    return [row for row in right if any(row)]


@pytest.fixture
def rankings_of_hard_set(hard_set: EmbeddingSet, brute_force: Callable[..., list[list[int]]]) -> list[list[bool]]:
    """The same for a hard set that is searched in itself."""
    labels = hard_set.labels
    rows = brute_force("euclidean", hard_set.embeddings, hard_set.embeddings, True)
    right = [[bool(labels[g] == labels[q]) for g in row] for q, row in enumerate(rows)]
    return [row for row in right if any(row)]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A SIGTERM that arrives while a test trains is for the whole suite: a training takes it for its own."""
    yield
    if call.excinfo is not None and isinstance(call.excinfo.value, TrainingStopped):
        item.session.shouldstop = str(call.excinfo.value)


def write_tar(shard, samples):
    """Writes (name, content) pairs into a tar."""
    with tarfile.open(shard, "w") as tar:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return shard


@pytest.fixture
def pack():
    return write_tar


@pytest.fixture
def shards(image_folder, tmp_path):
    """The images of a folder in two shards, in no order, with their classes' names in .cls files."""
    files = sorted(image_folder.rglob("*.png"))
    np.random.default_rng(0).shuffle(files)
    made = []
    for number, part in enumerate((files[:20], files[20:])):
        samples = []
        for file in part:
            stem = f"{file.parent.name}/{file.stem}"
            samples += [(f"{stem}.png", file.read_bytes()), (f"{stem}.cls", file.parent.name.encode())]
        made.append(write_tar(tmp_path / f"train-{number}.tar", samples))
    return made


@pytest.fixture
def indexed(shards, tmp_path):
    index_shards([str(shard) for shard in shards], tmp_path / "i.parquet")
    return tmp_path / "i.parquet"


@pytest.fixture(scope="session")
def vector_model():
    """A model of vectors of five numbers, which it leaves as they are."""
    from metricforge.deployment import EmbeddingModel
    from metricforge.deployment.model_description import ModelDescription
    from metricforge.models import MetricLearner

    parts = dict(
        backbone=dict(type="IdentityBackbone", feature_dim=5),
        head=dict(type="EmbeddingHead", l2_normalize=False),
        similarity=dict(type="CosineSimilarity"),
    )
    learner = MetricLearner.from_config(parts, None)
    return EmbeddingModel(learner, ModelDescription(parts, ()), torch.device("cpu"), "vectors.pth")
