"""Collections with faults that were put there, and nothing else in what is found."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from metricforge.cli.main import main
from metricforge.datasets.tables.split_images import SplitRequest
from metricforge.doctor import collection_of_folder, collection_of_table, diagnose, examine


def picture(seed: int, side: int = 64) -> Image.Image:
    """Clouds of colour: unlike any other seed's, and much the same when scaled."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)


def save(path: Path, image: Image.Image, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


@pytest.fixture
def clean(tmp_path):
    """Six classes of three pictures; half of them train."""
    root = tmp_path / "pets"
    for number, name in enumerate("abcdef"):
        for copy in range(3):
            save(root / name / f"{copy}.png", picture(10 * number + copy))
    return root


def check(collection):
    found = diagnose(collection, examine(collection, workers=1))
    return {finding.kind: [tuple(collection.files[i] for i in group) for group in finding.groups] for finding in found}


def test_nothing_is_found_where_nothing_is_wrong(clean):
    assert check(collection_of_folder(clean)) == {}


def test_every_fault_is_found_where_it_was_put_and_nowhere_else(clean):
    whole = (clean / "a" / "0.png").read_bytes()
    (clean / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (clean / "a" / "text.jpg").write_text("no image")
    save(clean / "a" / "tiny.png", picture(900, 31))
    save(clean / "b" / "twin.bmp", picture(0))  # of a/0.png
    save(clean / "d" / "leak.png", picture(11))  # of b/1.png, and d tests
    save(clean / "c" / "near.jpg", picture(20).resize((90, 90)), quality=80)  # of c/0.png
    save(clean / "e" / "wrong.jpg", picture(901), format="PNG")
    save(clean / "e" / "cmyk.jpg", picture(902).convert("CMYK"))
    save(clean / "e" / "deep.png", Image.fromarray(np.asarray(picture(903).convert("L")).astype(np.uint16) * 257))
    save(clean / "e" / "palette.png", picture(904).quantize(64))
    transparent = picture(905).convert("RGBA")
    transparent.putpixel((0, 0), (0, 0, 0, 0))
    save(clean / "f" / "transparent.png", transparent)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(clean / "f" / "turned.jpg", picture(906), exif=exif, quality=95)
    save(clean / "g" / "alone.png", picture(907))
    found = check(collection_of_folder(clean, request=SplitRequest("all", train_fraction=3 / 7)))
    assert found == {
        "cannot be read": [("a/cut.png",), ("a/text.jpg",)],
        "same picture, different classes": [("a/0.png", "b/twin.bmp"), ("b/1.png", "d/leak.png")],
        "same or nearly the same picture in two splits": [("b/1.png", "d/leak.png")],
        "nearly the same picture, one class": [("c/0.png", "c/near.jpg")],
        "class with one image": [("g/alone.png",)],
        "shorter side below 32 pixels": [("a/tiny.png",)],
        "extension of another format": [("e/wrong.jpg",)],
        "CMYK": [("e/cmyk.jpg",)],
        "16 bits a channel": [("e/deep.png",)],
        "palette": [("e/palette.png",)],
        "transparent": [("f/transparent.png",)],
        "turned by EXIF": [("f/turned.jpg",)],
    }


def test_a_picture_turned_by_exif_is_the_same_as_the_upright_one(clean):
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = picture(0).transpose(Image.Transpose.ROTATE_90)  # the tag turns it back, by 270 degrees
    save(clean / "a" / "turned.png", sideways, exif=exif)
    found = check(collection_of_folder(clean))
    assert found["same picture, one class"] == [("a/0.png", "a/turned.png")]


def test_a_blurred_and_a_brighter_copy_are_near_and_other_drawings_on_white_are_not(tmp_path):
    root = tmp_path / "drawings"
    generator = np.random.default_rng(0)
    for number in range(30):
        canvas = np.full((96, 96), 255, dtype=np.uint8)
        for _ in range(4):
            x, y = generator.integers(8, 80, 2)
            canvas[y : y + 3, x : x + generator.integers(6, 16)] = 0
        save(root / f"{number:02d}" / "0.png", Image.fromarray(canvas))
    save(root / "00" / "blurred.png", picture(1).filter(ImageFilter.GaussianBlur(1)))
    save(root / "01" / "sharp.png", picture(1))
    save(root / "02" / "brighter.png", picture(1).point(lambda value: min(255, value + 12)))
    found = check(collection_of_folder(root))["nearly the same picture, different classes"]
    assert set(found) == {
        ("00/blurred.png", "01/sharp.png"),
        ("00/blurred.png", "02/brighter.png"),
        ("01/sharp.png", "02/brighter.png"),
    }


def test_a_class_in_both_splits_and_a_missing_file_are_found_in_a_table(clean):
    table = clean / "pets.csv"
    rows = [f"{name}/{i}.png,{name},{'train' if name < 'd' else 'test'}" for name in "abcdef" for i in range(3)]
    rows[2] = "a/2.png,a,test"
    rows += ["e/gone.png,e,test", "f/0.png,e,test"]
    table.write_text("\n".join(["path,label,split", *rows]))
    assert check(collection_of_table(table)) == {
        "cannot be read": [("e/gone.png",)],
        "class in two splits": [("a/0.png", "a/2.png")],
        "same picture, different classes": [("f/0.png", "f/0.png")],
        "listed more than once": [("f/0.png", "f/0.png")],
    }


def test_a_folder_with_train_and_test_is_read_as_two_splits(clean, tmp_path):
    for split, names in (("train", "abc"), ("test", "cdef")):
        for name in names:
            save(tmp_path / "set" / split / name / "0.png", Image.open(clean / name / "0.png"))
            save(tmp_path / "set" / split / name / "1.png", picture(ord(name) + 300 * (split == "test")))
    found = check(collection_of_folder(tmp_path / "set"))
    assert found == {
        "class in two splits": [("train/c/0.png", "test/c/0.png")],
        "same or nearly the same picture in two splits": [("test/c/0.png", "train/c/0.png")],
        "same picture, one class": [("test/c/0.png", "train/c/0.png")],
    }


def run(*arguments) -> int:
    try:
        main(["data", "check", *map(str, arguments), "--workers", "2"])
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def test_the_command_prints_a_table_writes_all_of_it_and_draws_it(clean, tmp_path, capsys):
    save(clean / "b" / "twin.png", picture(0))
    (clean / "c" / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    assert run(clean, "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert "pets: 20 images of 6 classes (11 train, 9 test)" in said
    assert "a/0.png = b/twin.png  (a / b)" in said
    assert "c/broken.jpg  (" in said
    with (tmp_path / "out" / "findings.csv").open() as file:
        rows = [(row["found"], row["path"], row["class"], row["split"]) for row in csv.DictReader(file)]
    assert rows == [
        ("cannot be read", "c/broken.jpg", "c", "train"),
        ("same picture, different classes", "a/0.png", "a", "train"),
        ("same picture, different classes", "b/twin.png", "b", "train"),
    ]
    with Image.open(tmp_path / "out" / "findings.png") as sheet:
        assert sheet.width > 1000
        colours = np.asarray(sheet.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 1000, "it shows the pictures"


def test_notes_alone_are_no_failure_and_a_clean_set_says_so(clean, tmp_path, capsys):
    assert run(clean, "--out", tmp_path / "out") == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    save(clean / "b" / "cmyk.jpg", picture(77).convert("CMYK"))
    assert run(clean, "--out", tmp_path / "out") == 0
    assert "converted to RGB" in capsys.readouterr().out


def test_a_benchmark_is_checked_by_its_name_and_what_is_nothing_is_said(tmp_path, capsys):
    assert run("sop", "--data-dir", tmp_path) == 1
    assert "Stanford Online Products was looked for in" in capsys.readouterr().err
    assert run(tmp_path / "nothing") == 1
    assert "is not a folder, a table (.parquet, .csv, .tsv, .txt, .lst) or a benchmark" in capsys.readouterr().err
