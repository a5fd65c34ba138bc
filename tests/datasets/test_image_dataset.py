from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from metricforge.datasets import ImageDataset
from metricforge.datasets import image_dataset as module
from metricforge.errors import ConfigError, DatasetError
from metricforge.structures import Role


class Solid(ImageDataset):
    """Image i is one colour of size (4, 6), in the mode of the moment."""

    mode = "RGB"

    def __init__(self, labels=(0, 1, 1), class_names=("cat", "dog"), transform=None, roles=None):
        super().__init__(
            name="Solid", split="train", labels=labels, class_names=class_names, transform=transform, roles=roles
        )

    def load(self, index):
        if self.mode == "RGB":
            return Image.new("RGB", (6, 4), (10 * index, 1, 2))
        return Image.new(self.mode, (6, 4))


def to_float(image):
    return image / 255


def test_an_item_is_a_uint8_image_with_its_label_and_its_position():
    item = Solid()[2]
    assert item["image"].dtype == torch.uint8
    assert item["image"].shape == (3, 4, 6)
    assert item["image"][:, 3, 5].tolist() == [20, 1, 2]
    assert (item["label"], item["id"]) == (1, 2)
    assert isinstance(item["label"], int)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "LA"])
def test_every_8_bit_mode_becomes_three_channels(mode):
    dataset = Solid()
    dataset.mode = mode
    assert dataset[0]["image"].shape == (3, 4, 6)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_an_image_of_32_bits_is_refused_rather_than_clipped(mode):
    dataset = Solid()
    dataset.mode = mode
    with pytest.raises(DatasetError, match="image 0 of Solid train has 32 bits a channel"):
        dataset[0]


def test_16_bits_are_scaled_to_8_by_their_full_range(monkeypatch):
    deep = np.array([[0, 128, 257, 32896, 65535]], dtype=np.uint16)
    dataset = Solid()
    monkeypatch.setattr(dataset, "load", lambda index: Image.fromarray(deep))
    assert dataset[0]["image"][1, 0].tolist() == np.round(deep[0] * (255 / 65535)).astype(int).tolist()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_lies_on_white(monkeypatch, mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (10, 10, 10, 255))
    image = image.quantize() if mode == "P" else image.convert(mode)
    dataset = Solid()
    monkeypatch.setattr(dataset, "load", lambda index: image)
    assert dataset[0]["image"][:, 0].tolist() == [[255, 10]] * 3


def test_roles_that_leave_nothing_to_search_or_to_find_are_refused():
    def build(roles):
        return Solid(labels=(0, 1), roles=np.array(roles))

    assert build([Role.QUERY, Role.GALLERY]).describe().endswith("1 queries in a gallery of 1")
    assert build([Role.BOTH, Role.BOTH]).roles is None
    with pytest.raises(DatasetError, match="no image whose role is gallery, so there is nothing to search in"):
        build([Role.QUERY, Role.QUERY])
    with pytest.raises(DatasetError, match="no image whose role is query"):
        build([Role.GALLERY, Role.GALLERY])


def test_it_says_its_classes_and_describes_itself_in_one_line():
    dataset = Solid(labels=[0, 1] * 600)
    assert dataset.num_classes == 2
    assert dataset.labels.dtype == np.int64
    assert dataset.describe() == "Solid train: 1,200 images of 2 classes"


def test_transforms_are_applied_in_order():
    steps = [dict(type="CenterCrop", size=2), dict(type="Pad", padding=1, fill=7), lambda image: image + 1]
    image = Solid(transform=steps)[0]["image"]
    assert image[0].tolist() == [[8, 8, 8, 8], [8, 1, 1, 8], [8, 1, 1, 8], [8, 8, 8, 8]]


def test_transforms_inside_a_transform_are_built_too():
    inner = [dict(type="CenterCrop", size=2)]
    assert Solid(transform=[dict(type="RandomApply", transforms=inner, p=1.0)])[0]["image"].shape == (3, 2, 2)


def test_a_transform_that_leaves_uint8_is_named():
    steps = [dict(type="CenterCrop", size=2), to_float, dict(type="RandomHorizontalFlip")]
    with pytest.raises(DatasetError, match=r"transform to_float .* made a float32 tensor \(3, 2, 2\).*uint8 tensor"):
        Solid(transform=steps)[0]


def test_floats_between_two_transforms_are_fine_if_uint8_comes_out():
    image = Solid(transform=[to_float, lambda image: (image * 255).round().to(torch.uint8)])[2]["image"]
    assert image[:, 0, 0].tolist() == [20, 1, 2]


def test_a_misspelt_transform_is_named_with_its_place():
    with pytest.raises(ConfigError, match=r'transform\[1\]\.type: "CentreCrop".*did you mean "CenterCrop"'):
        Solid(transform=[dict(type="CenterCrop", size=2), dict(type="CentreCrop", size=2)])


def test_a_transform_that_is_neither_config_nor_callable_is_refused():
    with pytest.raises(TypeError, match=r"transform\[0\] must be a dict with a type, or a callable, got 3"):
        Solid(transform=[3])


@pytest.mark.parametrize("labels", [[0, 0], [0, 2], [0, 1, 2], [-1, 0, 1]])
def test_labels_that_are_not_all_of_0_to_c_are_refused(labels):
    with pytest.raises(DatasetError, match="2 class names"):
        Solid(labels=labels)


def test_a_data_set_without_images_is_refused():
    with pytest.raises(DatasetError, match="at least one image"):
        Solid(labels=[], class_names=[])


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_an_index_error(index):
    with pytest.raises(IndexError, match=r"outside 0\.\.2"):
        Solid()[index]


def test_the_fingerprint_is_stable_and_changes_with_labels_and_names():
    fingerprints = [
        Solid().fingerprint(),
        Solid(labels=(0, 0, 1)).fingerprint(),
        Solid(class_names=("cat", "cow")).fingerprint(),
        Solid(class_names=("catd", "og")).fingerprint(),
    ]
    assert len(set(fingerprints)) == 4
    assert Solid(transform=[dict(type="CenterCrop", size=2)]).fingerprint() == fingerprints[0]


def test_the_commonest_transforms_do_and_draw_what_torchvisions_own_call_does():
    image = torch.arange(3 * 40 * 50, dtype=torch.int64).remainder(251).to(torch.uint8).view(3, 40, 50)
    steps = [
        v2.RandomResizedCrop(16),
        v2.RandomCrop(20),
        v2.CenterCrop(12),
        v2.Resize((9, 11)),
        v2.RandomHorizontalFlip(),
        v2.RandomHorizontalFlip(p=1.0),
        v2.RandomHorizontalFlip(p=0.0),
    ]
    for step in steps:
        for seed in range(6):
            torch.manual_seed(seed)
            expected, after = step(image), torch.rand(1)
            torch.manual_seed(seed)
            assert torch.equal(module._applied(step, image), expected)
            assert torch.rand(1) == after
