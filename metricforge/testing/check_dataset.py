"""The contract of a data set as a test."""

from __future__ import annotations

import pickle

import numpy as np
import torch

from metricforge.datasets import ImageDataset
from metricforge.errors import DatasetError
from metricforge.testing.clause import clause, require


def check_dataset(dataset: ImageDataset, *, images: int = 16) -> None:
    """Test a data set against the contract.

    - it is not empty, every class has a name of its own and at least one image;
    - an item is ``dict(image, label, id)``: a uint8 tensor (3, H, W), its label and its position as integers;
    - an index outside it is an IndexError, and ``location`` tells where an image is from;
    - the same image is the same from ``load`` every time, and different images are not all the same;
    - workers get a copy: it can be pickled, and the copy has the same items;
    - ``fingerprint`` is the same for the copy, and says more than nothing;
    - classes can be set aside to validate (``of_classes``), or that is a DatasetError.

    Args:
        dataset: the data set.
        images: how many images to look at, evenly spaced.

    Raises:
        AssertionError: naming the clause that failed.
    """
    with clause(dataset, "it is a data set"):
        require(isinstance(dataset, ImageDataset), "not a metricforge.datasets.ImageDataset")
        require(hasattr(dataset, "labels"), "its constructor does not call that of ImageDataset")
    with clause(dataset, "every class has a name of its own"):
        require(all(isinstance(name, str) for name in dataset.class_names), "class_names must be text")
        require(len(set(dataset.class_names)) == dataset.num_classes, "some classes have the same name")
    chosen = np.unique(np.linspace(0, len(dataset) - 1, images).astype(int)).tolist()
    for index in chosen:
        _check_item(dataset, index)
    with clause(dataset, "an index outside it is an IndexError"):
        for index in (-1, len(dataset)):
            try:
                dataset[index]
            except IndexError:
                continue
            require(False, f"{index} was accepted, of {len(dataset)} images")
    with clause(dataset, "load gives the same image every time, and others for others"):
        first = [np.asarray(dataset.load(index)) for index in chosen]
        again = [np.asarray(dataset.load(index)) for index in chosen]
        require(all(map(np.array_equal, first, again)), "an image differs from call to call")
        require(len(chosen) == 1 or any(not np.array_equal(first[0], other) for other in first[1:]), "all are the same")
    with clause(dataset, "workers get a copy that has the same images"):
        copied = pickle.loads(pickle.dumps(dataset))
        require(np.array_equal(np.asarray(copied.load(chosen[-1])), first[-1]), "the copy has other ones")
    with clause(dataset, "fingerprint tells data sets apart"):
        found = dataset.fingerprint()
        require(isinstance(found, str) and len(found) > 0, f"got {found!r}")
        require(found == copied.fingerprint(), "that of a copy is another")
    if dataset.num_classes > 1:
        _check_subset(dataset)


def _check_item(dataset: ImageDataset, index: int) -> None:
    with clause(dataset, f"an item is an image, its label and its id (image {index})"):
        with torch.random.fork_rng(devices=[]):
            item = dataset[index]
        require(set(item) == {"image", "label", "id"}, f"it has {sorted(item)}")
        image, label = item["image"], item["label"]
        require(isinstance(image, torch.Tensor) and image.dtype == torch.uint8, "the image is not a uint8 tensor")
        require(image.dim() == 3 and image.shape[0] == 3, f"the image has shape {tuple(image.shape)}, not (3, H, W)")
        require(type(label) is int and label == dataset.labels[index], f"the label is {label!r}")
        require(type(item["id"]) is int and item["id"] == index, f"the id is {item['id']!r}")
    with clause(dataset, f"location tells where an image is from (image {index})"):
        require(isinstance(dataset.location(index), str), f"got {dataset.location(index)!r}")


def _check_subset(dataset: ImageDataset) -> None:
    """Without its first class, the others keep their images."""
    with clause(dataset, "classes can be set aside"):
        kept = np.arange(dataset.num_classes) > 0
        try:
            part = dataset.of_classes(kept, "part")
        except DatasetError:
            return
        rows = np.flatnonzero(dataset.labels > 0)
        require(len(part) == len(rows), f"{len(part)} images are left, not {len(rows)}")
        same = np.array_equal(np.asarray(part.load(0)), np.asarray(dataset.load(int(rows[0]))))
        require(
            same, "image 0 of the rest is not the first image of the other classes; keep them by _keep_images(rows)"
        )
