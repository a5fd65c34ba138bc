"""Values of options that would take no effect are refused before a command runs."""

from __future__ import annotations

import pytest

from metricforge.__main__ import main
from metricforge.cli.parsers.values import proxy_address


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["serve", "index", "--proxy", "nginx"], "--proxy: nginx: must be an IP address or a network"),
        (["serve", "index", "--max-body", "0.5"], "--max-body: 0.5: must be a number of bytes, such as 2GB"),
        (["export", "run", "--out", "bundle", "--license", " "], "--license: is empty; leave it out"),
    ],
    ids=str,
)
def test_an_option_without_effect_is_refused(words, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words",
    [
        ["test", "pddm_glyphs", "best.pth", "--save-embeddings"],
        ["test", "pddm_glyphs", "best.pth", "--picture"],
        ["plot", "map", "pddm_glyphs", "best.pth", "--out"],
        ["report", "run", "--out"],
        ["evaluate", "vectors.npz", "--json"],
        ["compare", "one", "other", "--json"],
        ["classes", "run", "--csv"],
        ["data", "index", "shard.tar", "--out"],
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_a_file_that_cannot_be_written_is_refused_before_any_work(words, tmp_path, capsys):
    ending = {"--picture": ".png", "--save-embeddings": ".npz"}.get(words[-1], {"plot": ".png"}.get(words[0], ".html"))
    (tmp_path / "file").touch()
    for place, why in ((f"file/new{ending}", "Not a directory"), (f"folder{ending}", "Is a directory")):
        (tmp_path / f"folder{ending}").mkdir(exist_ok=True)
        with pytest.raises(SystemExit, match="2"):
            main([*words, str(tmp_path / place)])
        assert f"{tmp_path / place}: cannot be written ({why})" in capsys.readouterr().err.replace("\n", "")


def test_a_proxy_s_network_is_written_as_the_server_compares_it():
    assert proxy_address("10.1.2.3/8") == "10.0.0.0/8"
    assert proxy_address("::1") == "::1"
