from __future__ import annotations

import json
import re
import shutil
from base64 import b64decode
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from metricforge import build_runner, load_model
from metricforge.errors import ComparisonError, MetricForgeError
from metricforge.run_records.history import History, read_history
from metricforge.run_report.write_report import write_report


class Page(HTMLParser):
    """What a browser would make of a report: its elements, its texts, and the numbers in the rows of scores."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scores: dict[str, list[float]] = {}
        self._row: str | None = None
        self._script: str | None = None
        self.payload = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "tr":
            self._row = found.get("data-score")
        if tag == "script":
            self._script = found.get("id", "")
        if tag == "data" and self._row is not None:
            self.scores.setdefault(self._row, []).append(float(found["value"]))

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script == "payload":
            self.payload += data
        elif self._script is None:
            self.texts.append(data)


@pytest.fixture(scope="module")
def page(one_run, tmp_path_factory):
    out = write_report([one_run], tmp_path_factory.mktemp("report") / "report.html", maps=(), device="cpu")
    return Page(out.read_text())


def test_every_score_in_the_page_is_that_of_scores_json(page, one_run):
    written = json.loads((one_run / "scores.json").read_text())["scores"]
    assert {name: values[0] for name, values in page.scores.items()} == written


def test_the_gallery_shows_the_nearest_images_by_brute_force(page, one_run, hostile_images):
    gallery = json.loads(page.payload)["gallery"]
    model = load_model(one_run, device="cpu")
    files = sorted((hostile_images / "test").glob("*/*"))
    embeddings = model.embed([str(file) for file in files]).astype(np.float64)
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -np.inf)
    assert len(gallery) == 36
    for query in gallery:
        found = query["runs"][0]
        assert found["ids"] == np.argsort(-cosines[query["id"]], kind="stable")[:8].tolist()
        assert found["scores"] == pytest.approx(np.sort(cosines[query["id"]])[::-1][:8], abs=2e-4)
        assert found["distances"] == pytest.approx(
            np.linalg.norm(embeddings[found["ids"]] - embeddings[query["id"]], axis=1), rel=1e-2
        )
        assert found["match"] == [int(label == query["label"]) for label in found["labels"]]


def test_hostile_names_are_text(page, one_run, hostile_names):
    payload = json.loads(page.payload)
    assert payload["classes"] == hostile_names
    assert payload["runs"] == [one_run.name]
    assert one_run.name in " ".join(page.texts)
    assert not [attributes for tag, attributes in page.elements if tag in ("i", "b") and not attributes.get("class")]
    assert "49" not in " ".join(text for text in page.texts if "7 *" in text)


def test_the_page_asks_for_nothing_elsewhere(page):
    asked = [
        (tag, name, value)
        for tag, attributes in page.elements
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "data", "action") and not str(value).startswith(("#", "data:"))
    ]
    assert asked == []
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_every_logged_loss_part_has_its_curve(page, one_run):
    history = [json.loads(line) for line in (one_run / "history.jsonl").read_text().splitlines()]
    logged = {name for line in history for name in line.get("losses", {})}
    charts = json.loads(page.payload)["charts"].values()
    assert logged <= {line["name"] for chart in charts for line in chart["lines"]}
    loss = next(line for chart in charts for line in chart["lines"] if line["name"] == "loss")
    assert list(loss["y"]) == [line["losses"]["loss"] for line in history if "losses" in line]


def test_what_the_doctor_measured_and_said_is_there_and_his_words_are_text(one_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(one_run, copy)
    History(copy).add_diagnosis(4, 1.0, "labels", "Such as <img src=x onerror=alert(1)>.", [])
    page = Page(write_report([copy], tmp_path / "report.html", maps=(), queries=4, device="cpu").read_text())
    assert any("Such as <img src=x onerror=alert(1)>." in text for text in page.texts)
    measured = [line["diagnostics"] for line in read_history(copy) if "diagnostics" in line]
    norms = [values["gradient_norm"] for values in measured if "gradient_norm" in values]
    assert norms
    charts = json.loads(page.payload)["charts"]
    assert charts["diagnostics_gradient_norm"]["lines"][0]["y"] == norms
    assert {"diagnostics_active", "diagnostics_effective_rank"} <= charts.keys()


def test_the_map_has_images_of_training_classes_in_their_own_colour(one_run, tmp_path):
    page = Page(
        write_report(
            [one_run], tmp_path / "a.html", maps=("tsne",), queries=4, training_images=7, device="cpu"
        ).read_text()
    )
    shown = json.loads(page.payload)
    tested = shown["map"]["queries"]
    assert shown["map"]["training"] == 12, "two whole classes of six"
    labels = np.frombuffer(b64decode(shown["map"]["labels"]), "<u4")
    assert len(labels) == tested + 12
    assert not set(labels[:tested]) & set(labels[tested:]), "training and test have other classes"
    assert len(shown["classes"]) > labels.max()
    assert {str(tested + number) for number in range(12)} <= shown["thumbnails"].keys()
    assert any("training or test" in text for text in page.texts)


def test_two_runs_stand_side_by_side_with_the_paired_difference(one_run, other_run, tmp_path):
    page = Page(write_report([one_run, other_run], tmp_path / "both.html", maps=(), device="cpu").read_text())
    first, second = (json.loads((run / "scores.json").read_text())["scores"] for run in (one_run, other_run))
    for name, value in first.items():
        assert value in page.scores[name]
        assert second[name] in page.scores[name]
        assert second[name] - value in page.scores[name]
    assert all(len(query["runs"]) == 2 for query in json.loads(page.payload)["gallery"])


def test_images_that_changed_since_they_were_scored_are_refused(one_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(one_run, copy)
    scores = json.loads((copy / "scores.json").read_text())
    scores["protocol"]["dataset"]["fingerprint"] = "0123456789abcdef"
    (copy / "scores.json").write_text(json.dumps(scores))
    with pytest.raises(ComparisonError, match=r"0123456789abcdef.*metricforge test"):
        write_report([copy], tmp_path / "report.html", maps=(), device="cpu")


def test_without_its_weights_a_run_has_a_report_without_pictures(one_run, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("scores.json", "scores.queries.npz", "history.jsonl"):
        shutil.copy(one_run / name, copy)
    page = Page(write_report([copy], tmp_path / "report.html", maps=()).read_text())
    assert any(re.search("no pictures", text) for text in page.texts)
    assert any("neither in" in text for text in page.texts)
    assert page.scores


def test_what_was_measured_in_different_ways_is_named_where_it_is_shown_all_the_same(one_run, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(one_run / "scores.queries.npz", copy)
    content = json.loads((one_run / "scores.json").read_text())
    content["protocol"]["similarity"]["type"] = "EuclideanSimilarity"
    (copy / "scores.json").write_text(json.dumps(content))
    out = write_report([one_run, copy], tmp_path / "report.html", maps=(), device="cpu", force=True)
    (note,) = [text for text in Page(out.read_text()).texts if "Scores with a ! do not compare" in text]
    assert "similarity.type: one & <i>only CosineSimilarity, copy EuclideanSimilarity" in note


def test_three_runs_are_refused(one_run, tmp_path):
    with pytest.raises(ComparisonError, match="got 3"):
        write_report([one_run] * 3, tmp_path / "report.html")


def test_the_same_pictures_are_written_as_png(one_run, tmp_path):
    write_report([one_run], tmp_path / "report.html", maps=("tsne",), png=tmp_path / "pictures", device="cpu")
    page = Page((tmp_path / "report.html").read_text())
    charts = set(json.loads(page.payload)["charts"])
    sizes = {path.stem: Image.open(path).size for path in (tmp_path / "pictures").glob("*.png")}
    assert set(sizes) == charts | {"neighbours", "map_tsne", "why"}
    assert all(min(size) > 300 for size in sizes.values())


def test_a_report_that_would_be_too_large_is_refused_with_a_way_out(one_run, tmp_path, monkeypatch):
    monkeypatch.setattr("metricforge.run_report.content.MOST_BYTES", 6_800_000)
    with pytest.raises(MetricForgeError, match=r"at most 7; show fewer queries \(--queries\)"):
        write_report([one_run], tmp_path / "report.html", maps=(), device="cpu")


def test_a_run_on_vectors_has_rows_in_place_of_pictures(tmp_path):
    draws = np.random.default_rng(0)
    labels = np.repeat(np.arange(24), 4)
    vectors = draws.normal(size=(24, 8))[labels] + 0.5 * draws.normal(size=(96, 8))
    np.savez(tmp_path / "vectors.npz", embeddings=vectors.astype(np.float32), labels=labels)
    changes = {
        "data_root": str(tmp_path),
        "train_cfg.max_epochs": 1,
        "train_dataloader.sampler.classes_per_batch": 4,
    }
    build_runner("normsoftmax_vectors", overrides=changes, work_dir=tmp_path / "run", device="cpu").train()
    out = write_report([tmp_path / "run"], tmp_path / "report.html", maps=(), png=tmp_path / "png", device="cpu")
    page = Page(out.read_text())
    assert any("These are vectors; in place of a picture" in text for text in page.texts)
    assert "Near duplicates" not in page.texts
    payload = json.loads(page.payload)
    query = payload["gallery"][0]["id"]
    assert payload["places"][str(query)].startswith("vectors.npz, row ")
    assert payload["thumbnails"] == {}
    names = {path.name for path in (tmp_path / "png").iterdir()}
    assert "neighbours.png" not in names
    assert "recall_at_k.png" in names
