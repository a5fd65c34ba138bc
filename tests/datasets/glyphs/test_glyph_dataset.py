from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest

from metricforge.datasets import GlyphDataset
from metricforge.datasets.glyphs.glyph_pictures import font_files
from metricforge.registry import DATASETS


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("glyphs")


@pytest.fixture(scope="module")
def train(cache):
    return GlyphDataset("train", cache_dir=cache)


@pytest.fixture(scope="module")
def test(cache):
    return GlyphDataset("test", cache_dir=cache)


def test_the_halves_are_alike_and_share_no_character(train, test):
    characters = [{c for name in d.class_names for c in name.split(" ")} for d in (train, test)]
    assert not characters[0] & characters[1]
    assert abs(train.num_classes - test.num_classes) <= 1
    assert train.num_classes + test.num_classes > 1600
    assert 0.9 < len(train) / len(test) < 1.1
    for category in ("Lu", "Ll", "Sm", "Lm"):
        counts = [sum(unicodedata.category(name[0]) == category for name in d.class_names) for d in (train, test)]
        assert min(counts) > 0.35 * sum(counts)


def test_no_controls_spaces_or_marks_are_among_them(train, test):
    categories = Counter(
        unicodedata.category(c) for d in (train, test) for name in d.class_names for c in name.replace(" ", "")
    )
    assert {category[0] for category in categories} == {"L", "N", "P", "S"}
    assert "So" not in categories


def test_no_picture_stands_twice_in_both_halves_together(train, test):
    pictures = np.concatenate([train.pictures, test.pictures])
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_characters_that_look_the_same_are_one_class_and_others_are_not(train, test):
    class_of = {c: name for d in (train, test) for name in d.class_names for c in name.split(" ")}
    assert class_of["A"] == "A Α А"  # Latin, Greek, Cyrillic
    assert class_of["\N{CYRILLIC CAPITAL LETTER O}"] == class_of["O"]
    # The serif italics draw these alike, no upright font does.
    assert class_of["\N{CYRILLIC SMALL LETTER TE}"] != class_of["m"]
    assert class_of["\N{CYRILLIC SMALL LETTER PE}"] != class_of["n"]
    assert class_of["I"] != class_of["\N{LATIN CAPITAL LETTER I WITH BREVE}"]
    assert max(len(name.split(" ")) for name in class_of.values()) <= 6


def test_every_class_can_be_retrieved_and_most_have_one_picture_a_font(train):
    sizes = np.bincount(train.labels)
    assert sizes.min() >= 2
    assert np.median(sizes) == 12


def test_ink_is_centred_and_not_clipped(test):
    inked = test.pictures > 0
    for along in (1, 2):
        lines = inked.any(axis=3 - along)  # (N, 40)
        first, last = lines.argmax(axis=1), 39 - lines[:, ::-1].argmax(axis=1)
        assert np.abs(first + last - 39).max() <= 1
    assert (test.pictures.max(axis=(1, 2)) > 100).all()


def test_an_item_is_grey_in_three_channels(train):
    item = train[5]
    assert item["image"].shape == (3, 40, 40)
    assert (item["image"][0].numpy() == train.pictures[5]).all()
    assert (item["image"][0] == item["image"][2]).all()
    assert item["label"] == train.labels[5]


def test_a_glyph_says_its_font(train):
    assert train.location(0) == f"glyph {train.class_names[0]} in DejaVuSans-Bold"


def test_it_describes_itself(train):
    assert train.describe() == f"Glyphs train: {len(train):,} images of {train.num_classes:,} classes"


def test_the_fingerprint_tells_the_halves_apart_and_follows_the_pixels(train, test, cache):
    again = GlyphDataset("train", cache_dir=cache)
    assert again.fingerprint() == train.fingerprint() != test.fingerprint()
    other = GlyphDataset("train", cache_dir=cache)
    other.pictures = other.pictures.copy()
    other.pictures[0, 20, 20] ^= 1
    assert other.fingerprint() != train.fingerprint()


def test_a_damaged_cache_is_told_and_rendered_anew(train, cache, tmp_path):
    (file,) = cache.iterdir()
    damaged = tmp_path / file.name
    damaged.write_bytes(file.read_bytes()[:100_000])
    with pytest.warns(UserWarning, match="is damaged"):
        dataset = GlyphDataset("train", cache_dir=tmp_path)
    assert dataset.fingerprint() == train.fingerprint()
    assert damaged.stat().st_size == file.stat().st_size
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cache_folder_that_cannot_be_written_is_told_and_does_no_harm(train, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(UserWarning, match="cannot be stored in"):
        assert GlyphDataset("train", cache_dir=blocked / "cache").fingerprint() == train.fingerprint()


def test_twelve_fonts_are_found():
    names = [font.stem for font in font_files()]
    assert len(set(names)) == 12
    assert not any("Display" in name for name in names)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="got 'val'"):
        GlyphDataset("val")


def test_a_config_builds_it_with_transforms(cache):
    cfg = dict(type="GlyphDataset", split="test", cache_dir=str(cache), transform=[dict(type="RandomCrop", size=36)])
    assert DATASETS.build(cfg)[0]["image"].shape == (3, 36, 36)
