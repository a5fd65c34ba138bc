"""A test set of two roles: queries are searched in the gallery, in training's validation and in the test command."""

from __future__ import annotations

import json

import pytest

from metricforge import build_runner
from metricforge.cli.main import main


@pytest.fixture
def inshop_config(tiny_config, make_benchmark, tmp_path):
    root = str(make_benchmark("inshop", tmp_path / "inshop"))
    for loader, split in (("train_dataloader", "train"), ("test_dataloader", "test")):
        tiny_config[loader]["dataset"] = dict(type="InShopDataset", root=root, split=split, check_counts=False)
    tiny_config["train_cfg"]["max_epochs"] = 1
    return tiny_config


def test_queries_are_searched_in_the_gallery_and_the_protocol_says_so(inshop_config, tmp_path):
    runner = build_runner(inshop_config, work_dir=tmp_path / "run", device="cpu")
    runner.train()
    context = runner.test_loop.context
    assert context.queries.ids.tolist() == [0, 4, 8]
    assert context.gallery.ids.tolist() == [1, 2, 3, 5, 6, 7, 9, 10, 11]
    assert context.matches.tolist() == [3, 3, 3]
    protocol = json.loads((tmp_path / "run" / "scores.json").read_text())["protocol"]
    assert (protocol["queries"], protocol["gallery"]) == (3, 9)
    assert "3 queries in a gallery of 9" in protocol["dataset"]["name"]


def test_the_picture_shows_each_image_of_its_own_role(inshop_config, tmp_path, monkeypatch):
    inshop_config["test_dataloader"]["dataset"]["type"] = "InShopDataset"
    script = tmp_path / "inshop.py"
    script.write_text("\n".join(f"{key} = {value!r}" for key, value in inshop_config.items()))
    main(["train", str(script), "--device", "cpu", "--work-dir", str(tmp_path / "run")])
    shown = {}

    def draw(images, context, queries, path, neighbours, *, gallery_images, **options):
        shown["query"] = [images(q).getpixel((0, 0)) for q in range(3)]
        shown["gallery"] = [gallery_images(place).getpixel((0, 0)) for place in range(9)]

    monkeypatch.setattr("metricforge.cli.test.draw_retrieval_grid", draw)
    checkpoint = str(next((tmp_path / "run").glob("iter_*.pth")))
    main(
        [
            "test",
            str(script),
            checkpoint,
            "--device",
            "cpu",
            "--picture",
            str(tmp_path / "p.png"),
            "--picture-rows",
            "2",
        ]
    )
    assert all(abs(sum(pixel) / 3 - 35 * item) < 25 for pixel, item in zip(shown["query"], (4, 5, 6), strict=True))
    items = [4] * 3 + [5] * 3 + [6] * 3
    assert all(abs(sum(pixel) / 3 - 35 * item) < 25 for pixel, item in zip(shown["gallery"], items, strict=True))
