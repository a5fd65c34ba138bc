from base64 import b64decode

import numpy as np
from PIL import Image

from metricforge import TaggedEmbeddings, build_runner, evaluate_embeddings
from metricforge.comparison import compare_runs
from metricforge.evaluation import write_scores
from metricforge.html_tables import html_table, picture_address
from metricforge.index.hit import Hit, Hits, SearchResults

HOSTILE = "<script>alert('1')</script>"
ESCAPED = "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;"


def test_every_text_of_a_table_is_text():
    table = html_table([HOSTILE, "b"], [[HOSTILE, "1"]], HOSTILE)
    assert table.count(ESCAPED) == 3
    assert "<script" not in table


def test_search_results_show_pictures_beside_what_was_found(tmp_path):
    Image.new("RGB", (300, 100), "red").save(tmp_path / "a<b>.png")
    hits = Hits(
        [
            Hit(1, 0.912, str(tmp_path / "a<b>.png"), label=HOSTILE, probability=0.87),
            Hit(2, 0.5, "gone.jpg", probability=0.5),
        ]
    )
    shown = SearchResults([hits])._repr_html_()
    assert ESCAPED in shown
    assert "<script" not in shown
    assert "0.912" in shown
    assert "87 %" in shown
    assert shown.count("<img") == 1  # of the one that is there
    assert picture_address("gone.jpg") == ""
    encoded = picture_address(str(tmp_path / "a<b>.png")).partition("base64,")[2]
    assert b64decode(encoded)[:2] == b"\xff\xd8"  # a JPEG
    assert hits == [hits[0], hits[1]]  # still lists


def test_scores_and_comparisons_show_their_numbers(tmp_path):
    embeddings = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.2], [0.9, 0.3]])
    measured = evaluate_embeddings(TaggedEmbeddings(embeddings, np.array([0, 0, 1, 1, 0])), scores=["recall@1"])
    assert "<td style='text-align:right'>60.0</td>" in measured._repr_html_()
    for name, value in (("one", 0.25), ("<b>two", 0.5)):
        write_scores(tmp_path / name / "scores.json", {"recall@1": value}, {})
    shown = compare_runs([tmp_path / "one", tmp_path / "<b>two"])._repr_html_()
    assert all(text in shown for text in ("25.0", "50.0", "+25.0", "&lt;b&gt;two"))


def test_a_run_shows_its_folder_and_that_it_was_not_scored_yet(tmp_path):
    runner = build_runner("normsoftmax_glyphs", work_dir=tmp_path / "<i>run", device="cpu")
    assert "&lt;i&gt;run: not scored yet" in runner._repr_html_()
    runner.last_scores = {"recall@1": 0.5}
    assert "50.0" in runner._repr_html_()
