"""The candidates of a readout stand in the report with their scores, and the chosen one in words."""

from __future__ import annotations

import json

import pytest

from metricforge.errors import ComparisonError
from metricforge.report.html import render_page
from metricforge.run_report.readout_part import read_readout, readout_part

CONTENT = {
    "score": "recall@1",
    "classes": 12,
    "images": 1130,
    "candidates": [
        {"weights": "pretrained", "layer": "pooled", "dim": 1280, "scores": {"recall@1": 0.871, "map@r": 0.5}},
        {"weights": "pretrained", "layer": "adapted", "dim": 512, "scores": {"recall@1": 0.88, "map@r": 0.52}},
        {"weights": "fine-tuned", "layer": "head", "dim": 512, "scores": {"recall@1": 0.86, "map@r": 0.6}},
        {"weights": "3/4 fine-tuned", "layer": "whitened", "dim": 512, "scores": {"recall@1": 0.901, "map@r": 0.59}},
        {"weights": "mean of 3 checkpoints", "layer": "both", "dim": 1792, "scores": {"recall@1": 0.89, "map@r": 0.58}},
    ],
    "chosen": 3,
}
SCORED = {"weights": "3/4 fine-tuned", "layer": "whitened feature"}


def test_the_chosen_candidate_is_told_in_words_beside_the_frozen_feature():
    (sentence,) = readout_part(CONTENT, SCORED)["sentences"]
    assert sentence == (
        "Of 5 candidates the one with the best recall@1 on the validation classes became the model: 3/4 fine-tuned, "
        "whitened feature: weights 3/4 of the way from the pretrained to the fine-tuned ones, read at the principal "
        "components of the pooled feature, each divided by its spread, in 512 dimensions. Its recall@1 on 1,130 images "
        "of 12 validation classes is 90.1 %, that of the frozen feature 87.1 %. The test classes had no part in this "
        "choice."
    )


@pytest.mark.parametrize(("weights", "called"), [("vectors", "the vectors"), ("untrained", "the untrained feature")])
def test_what_there_was_before_training_has_its_own_name(weights, called):
    candidates = [{"weights": weights, "layer": "pooled", "dim": 8, "scores": {"recall@1": 0.5}}]
    candidates.append({"weights": "trained", "layer": "head", "dim": 4, "scores": {"recall@1": 0.75}})
    told = readout_part(CONTENT | {"candidates": candidates, "chosen": 1}, None)["sentences"][0]
    assert "trained, trained head: the weights of the best epoch, read at the trained head" in told
    assert f"is 75.0 %, that of {called} 50.0 %" in told


def test_scores_of_other_weights_than_the_chosen_ones_are_said_to_be():
    assert "of other weights than the chosen ones" in readout_part(CONTENT, {"weights": "best epoch"})["sentences"][1]


def test_every_candidate_has_its_row_and_names_are_text():
    hostile = CONTENT | {"candidates": [*CONTENT["candidates"][:4], CONTENT["candidates"][4] | {"weights": "<i>x</i>"}]}
    parts = {"readout": [readout_part(hostile, SCORED)], "parts": [("readout", "Candidates")]}
    page = render_page({"names": ["a run"], "version": "1", "subtitle": "birds", "missing": []} | parts, {})
    section = page[page.index('<section id="readout"') : page.index("</section>", page.index('<section id="readout"'))]
    for name in ("frozen", "adapted", "fine-tuned, trained head", "3/4 fine-tuned, whitened feature"):
        assert f'<th scope="row">{name}' in section
    assert "&lt;i&gt;x&lt;/i&gt;, head and feature" in section
    assert section.count("<tr") == 6
    assert section.index("whitened feature <") < section.index('class="pill"') < section.index("head and feature")
    for value in ("0.871", "0.52", "0.901", "0.58"):
        assert f'<data value="{value}">' in section


@pytest.mark.parametrize(
    "damaged", ["", "[]", "{}", json.dumps(CONTENT | {"chosen": 9}), json.dumps(CONTENT | {"chosen": -1})]
)
def test_a_damaged_file_is_an_error_and_without_one_there_is_nothing(damaged, tmp_path):
    assert read_readout(tmp_path) is None
    (tmp_path / "readout.json").write_text(json.dumps(CONTENT))
    assert read_readout(tmp_path) == CONTENT
    (tmp_path / "readout.json").write_text(damaged)
    with pytest.raises(ComparisonError, match=r"readout.json: is not a list of candidates"):
        read_readout(tmp_path)
