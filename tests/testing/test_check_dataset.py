from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metricforge import DATASETS
from metricforge.datasets import ImageDataset
from metricforge.testing import check_dataset


class Squares(ImageDataset):
    """Small and right; the rest break it."""

    def __init__(self, names=("a", "b", "c")) -> None:
        self.shades = np.arange(12) * 20
        super().__init__(name="squares", split="train", labels=np.repeat([0, 1, 2], 4), class_names=names)

    def load(self, index):
        return Image.new("RGB", (9, 7), (int(self.shades[index]),) * 3)

    def _keep_images(self, rows):
        self.shades = self.shades[rows]


def test_a_data_set_that_keeps_the_contract_passes():
    check_dataset(Squares())


def test_data_sets_of_the_core_pass(image_folder):
    check_dataset(DATASETS.build(dict(type="ImageFolderDataset", root=str(image_folder), split="test")))


class CannotLeaveOut(Squares):
    _keep_images = ImageDataset._keep_images


def test_one_that_cannot_set_classes_aside_passes():
    check_dataset(CannotLeaveOut())


class ForgetsToKeep(Squares):
    def _keep_images(self, rows):
        pass


class IsRandom(Squares):
    def load(self, index):
        return Image.fromarray(np.random.default_rng().integers(0, 256, (7, 9, 3), dtype=np.uint8))


class IsBlank(Squares):
    def load(self, index):
        return Image.new("RGB", (9, 7))


class HoldsALambda(Squares):
    def __init__(self) -> None:
        super().__init__()
        self.shade = lambda index: index


class GivesFloats(Squares):
    def __getitem__(self, index):
        item = super().__getitem__(index)
        return item | {"image": item["image"] / 255}


class TakesNegativeIndices(Squares):
    def __getitem__(self, index):
        return super().__getitem__(index % len(self))


class NamesTwoAlike(Squares):
    def __init__(self) -> None:
        super().__init__(names=("a", "b", "b"))


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        (ForgetsToKeep, "image 0 of the rest is not the first image of the other classes"),
        (IsRandom, "an image differs from call to call"),
        (IsBlank, "all are the same"),
        (HoldsALambda, "workers get a copy"),
        (GivesFloats, "the image is not a uint8 tensor"),
        (TakesNegativeIndices, "an index outside it is an IndexError: -1 was accepted"),
        (NamesTwoAlike, "some classes have the same name"),
    ],
)
def test_a_broken_data_set_is_caught_and_the_clause_is_named(dataset, said):
    with pytest.raises(AssertionError, match=rf"^{dataset.__name__}: .*{said}"):
        check_dataset(dataset())
