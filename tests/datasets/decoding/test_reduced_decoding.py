from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from metricforge.datasets import ImageFileDataset
from metricforge.datasets.decoding import reduced_decoding as module
from metricforge.datasets.decoding.jpeg_file import JpegFile
from metricforge.errors import UnreadableImageError


def photo(height, width, seed=0):
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (20, 200, 90)
    return Image.fromarray((pixels + generator.integers(-6, 7, pixels.shape)).clip(0, 255).astype(np.uint8))


def files(folder, transform, size=(375, 500), suffix="jpg", **arguments):
    """Two pictures as files, and the data set of them."""
    for number in range(2):
        photo(*size, seed=number).save(folder / f"{number}.{suffix}", quality=92)
    return ImageFileDataset(
        root=folder,
        files=[f"{number}.{suffix}" for number in range(2)],
        name="Photos",
        split="train",
        labels=[0, 1],
        class_names=["a", "b"],
        transform=transform,
        **arguments,
    )


def seeded(dataset, index, seed):
    torch.manual_seed(seed)
    return dataset[index]["image"], torch.rand(1).item()


def by_pillow(dataset, index, seed):
    """The same transforms after Pillow has decoded everything, and the next random number."""
    torch.manual_seed(seed)
    image = torch.from_numpy(np.array(dataset.load(index))).permute(2, 0, 1).contiguous()
    for step in dataset.transform:
        image = step(image)
    return image, torch.rand(1).item()


@pytest.fixture
def factors(monkeypatch):
    """The factors at which anything is decoded, in order."""
    seen = []
    decode = JpegFile.pixels

    def spy(self, factor=1, approximate=False, rows=None):
        seen.append(factor)
        return decode(self, factor, approximate, rows)

    monkeypatch.setattr(JpegFile, "pixels", spy)
    return seen


PIPELINES = {
    "crop": [dict(type="RandomResizedCrop", size=224), dict(type="RandomHorizontalFlip")],
    "papers": [dict(type="Resize", size=(256, 256)), dict(type="RandomCrop", size=224)],
    "nearest": [dict(type="Resize", size=40, interpolation=0)],
    "other first": [dict(type="RandomHorizontalFlip"), dict(type="RandomResizedCrop", size=32)],
    "no transform": None,
}


@pytest.mark.parametrize("name", ["crop", "papers"])
def test_what_is_resized_smoothly_is_decoded_approximately_with_the_same_draws(tmp_path, factors, name):
    dataset = files(tmp_path, PIPELINES[name])
    dataset.reduced_decoding = True
    for seed in range(8):
        image, after = seeded(dataset, seed % 2, seed)
        expected, after_pillow = by_pillow(dataset, seed % 2, seed)
        assert image.shape == expected.shape
        assert after == after_pillow
        difference = image.float() - expected.float()
        assert 0 < difference.abs().mean() < 2  # of 255
        assert difference.mean().abs() < 1
    assert set(factors) == {1}


@pytest.mark.parametrize(
    ("name", "reduce"),
    [*((name, False) for name in PIPELINES), *((name, True) for name in ("nearest", "other first", "no transform"))],
)
def test_other_images_are_bit_for_bit_those_of_pillow(tmp_path, factors, name, reduce):
    dataset = files(tmp_path, PIPELINES[name])
    dataset.reduced_decoding = reduce
    for seed in range(8):
        image, after = seeded(dataset, seed % 2, seed)
        expected, after_pillow = by_pillow(dataset, seed % 2, seed)
        assert torch.equal(image, expected)
        assert after == after_pillow
    assert set(factors) == {1}


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ([dict(type="RandomResizedCrop", size=64, scale=(0.3, 1.0)), dict(type="RandomHorizontalFlip")], {2, 4}),
        ([dict(type="Resize", size=(96, 96)), dict(type="CenterCrop", size=80)], {2}),
        ([dict(type="Resize", size=90)], {4}),
        ([dict(type="Resize", size=(40, 40), interpolation="bicubic")], {8}),
    ],
)
def test_a_reduced_image_is_close_to_the_full_one_and_draws_the_same(tmp_path, factors, transform, expected):
    dataset = files(tmp_path, transform)
    dataset.reduced_decoding = True
    for seed in range(12):
        image, after = seeded(dataset, seed % 2, seed)
        full, after_pillow = by_pillow(dataset, seed % 2, seed)
        assert image.shape == full.shape
        assert image.dtype == torch.uint8
        assert after == after_pillow
        # of 255: half a pixel of the reduced picture at the sharp edges, the rest hardly
        assert (image.float() - full.float()).abs().mean() < 4
    assert set(factors) == expected


@pytest.mark.parametrize("size", [224, 64])
def test_what_lies_below_a_crop_makes_no_difference(tmp_path, monkeypatch, size):
    dataset = files(tmp_path, [dict(type="RandomResizedCrop", size=size)])
    dataset.reduced_decoding = True
    images = [seeded(dataset, seed % 2, seed)[0] for seed in range(12)]
    decode, left_out = JpegFile.pixels, []

    def whole(self, factor, approximate, rows):
        left_out.append(len(decode(self, factor, approximate)) - len(decode(self, factor, approximate, rows)))
        return decode(self, factor, approximate)

    monkeypatch.setattr(JpegFile, "pixels", whole)
    assert all(torch.equal(image, seeded(dataset, seed % 2, seed)[0]) for seed, image in enumerate(images))
    assert max(left_out) > 50 / (224 / size)


@pytest.mark.parametrize("transform", [PIPELINES["crop"], PIPELINES["papers"], PIPELINES["other first"], None])
def test_what_only_pillow_can_decode_is_cropped_by_the_same_draws(tmp_path, monkeypatch, transform):
    dataset = files(tmp_path, transform, boxes=np.array([[100, 40, 420, 300], [0, 0, 500, 375]], dtype=np.int32))
    dataset.reduced_decoding = True
    monkeypatch.setattr(JpegFile, "pixels", lambda self, *arguments, **named: None)
    for seed in range(4):
        image, after = seeded(dataset, seed % 2, seed)
        expected, after_pillow = by_pillow(dataset, seed % 2, seed)
        assert torch.equal(image, expected)
        assert after == after_pillow


def test_full_decoding_is_the_default(tmp_path, factors):
    seeded(files(tmp_path, [dict(type="Resize", size=20)]), 0, 0)
    assert factors == [1]


def test_no_crop_is_enlarged_that_full_decoding_would_not_enlarge():
    generator = np.random.default_rng(0)
    reduced = 0
    for top, left, height, width, *size in generator.integers(1, 900, (3000, 6)).tolist():
        region = module.Region(top, left, height, width)
        factor = module._factor(region, (size[0], size[1]))
        if factor > 1:
            reduced += 1
            shrunk = region.shrunk(factor)
            assert shrunk.height >= size[0]
            assert shrunk.width >= size[1]
            assert abs(shrunk.height - height / factor) <= 1
            assert abs(shrunk.top - top / factor) <= 0.5
    assert reduced > 100


def test_the_size_that_resize_makes_is_torchvisions():
    generator = np.random.default_rng(0)
    for height, width, size in generator.integers(1, 700, (200, 3)).tolist():
        for step in (v2.Resize(size), v2.Resize((size, 7))):
            made = step(torch.zeros(3, height, width, device="meta", dtype=torch.float32)).shape[1:]
            assert module._resized(step, height, width) == tuple(made)
    assert module._resized(v2.Resize(5, max_size=9), 10, 20) is None


def test_a_box_is_cut_out_before_anything_else(tmp_path, factors):
    boxes = np.array([[100, 40, 420, 300], [0, 0, 500, 375]], dtype=np.int32)
    dataset = files(tmp_path, [dict(type="Resize", size=(64, 64))], boxes=boxes)
    exact, _ = seeded(dataset, 0, 0)
    assert torch.equal(exact, by_pillow(dataset, 0, 0)[0])
    dataset.reduced_decoding = True
    reduced, _ = seeded(dataset, 0, 0)
    assert factors == [1, 4]
    assert (reduced.float() - exact.float()).abs().mean() < 4


def test_a_picture_from_a_sideways_camera_is_reduced_upright(tmp_path, factors):
    dataset = files(tmp_path, [dict(type="Resize", size=(60, 60))])
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(375, 500).save(tmp_path / "0.jpg", quality=92, exif=exif)
    dataset.reduced_decoding = True
    image, _ = seeded(dataset, 0, 0)
    assert factors == [4]
    assert (image.float() - by_pillow(dataset, 0, 0)[0].float()).abs().mean() < 4


def test_a_truncated_file_is_still_an_error_with_its_path(tmp_path):
    dataset = files(tmp_path, [dict(type="RandomResizedCrop", size=16)])
    dataset.reduced_decoding = True
    data = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImageError, match=r"1\.jpg cannot be read as an image .*truncated"):
        dataset[1]


def test_other_formats_are_read_by_pillow_with_the_same_draws(tmp_path, factors):
    dataset = files(tmp_path, [dict(type="RandomResizedCrop", size=16)], suffix="png")
    dataset.reduced_decoding = True
    assert torch.equal(seeded(dataset, 0, 3)[0], by_pillow(dataset, 0, 3)[0])
    assert factors == []


def test_a_subclass_that_opens_files_itself_is_asked(tmp_path):
    class Inverted(ImageFileDataset):
        def load(self, index):
            return Image.new("RGB", (5, 5), (1, 2, 3))

    plain = files(tmp_path, None)
    own = Inverted(root=plain.root, files=plain.files, name="n", split="train", labels=[0, 1], class_names=["a", "b"])
    assert own[0]["image"][:, 0, 0].tolist() == [1, 2, 3]
