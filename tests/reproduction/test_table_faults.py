"""Whatever is wrong with a file of tables is said with its place."""

import json

import pytest

from metricforge.errors import ConfigError
from metricforge.reproduction import read_tables

TABLE = dict(
    title="t",
    source="s",
    scores=["recall@1"],
    rows=[dict(name="a", config="x.py", paper=[50])],
    reduced=dict(config=dict(glyphs="x.py", folder="x.py")),
)


def fault_of(tmp_path, text):
    (tmp_path / "x.py").touch()
    (tmp_path / "tables.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_tables(tmp_path / "tables.yaml")
    return str(caught.value)


def row(**change):
    return dict(rows=[dict(name="a", config="x.py") | change])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(scors=["recall@1"]), 'demo.scors: there is no such key; did you mean "scores"?'),
        (dict(title=""), "demo.title: is missing"),
        (dict(title=5), "demo.title: must be text, got 5"),
        (dict(rows=[]), "demo.rows: is missing"),
        (dict(rows="a"), "demo.rows: must be a list of rows, got 'a'"),
        (dict(rows=["a"]), "demo.rows[0]: must map name, config"),
        (dict(scores="recall@1"), "demo.scores: must be a list of scores, such as [recall@1, nmi], got 'recall@1'"),
        (dict(scores=[1]), "demo.scores: must be a list of scores"),
        (dict(config="z.py"), "z.py"),
        (row(papr=[1.0]), 'demo.rows[0].papr: there is no such key; did you mean "paper"?'),
        (row(paper=[1.0, 2.0]), "demo.rows[0].paper: has 2 figures for the 1 scores recall@1"),
        (row(paper=["61.3"]), "demo.rows[0].paper: must be a list of figures in per cent, 0 to 100, or null, got ['61"),
        (row(paper=[613]), "demo.rows[0].paper: must be a list of figures in per cent, 0 to 100"),
        (row(paper=61.3), "demo.rows[0].paper: must be a list of figures"),
        (row(config=None), "demo.rows[0]: needs a config, its own or the table's"),
        (row(config="y.py"), "demo.rows[0].config: there is no "),
        (row(config=["x.py"]), "demo.rows[0].config: must be the name of a config file"),
        (row(name=None), "demo.rows[0].name: is missing"),
        (row(name=512), "demo.rows[0].name: must be text, got 512; put it in quotes"),
        (row(options=[1]), "demo.rows[0].options: must map dotted config keys"),
        (dict(rows=row()["rows"] * 2), "demo.rows[1].name: 'a' is that of demo.rows[0] too"),
        (dict(reduced="x.py"), "demo.reduced: must map config, scores, rows to their values, got 'x.py'"),
        (
            dict(reduced=dict(config="x.py")),
            "demo.reduced.config: must name a config file for glyphs, for folder, or one",
        ),
        (dict(reduced=dict(scores=["nmi"])), "demo.reduced: needs a config"),
        (dict(reduced=dict(confg=1)), 'demo.reduced.confg: there is no such key; did you mean "config"?'),
        (dict(reduced=TABLE["reduced"] | row(config=None, paper=[50])), "demo.reduced.rows[0].paper: a reduced"),
    ],
)
def test_a_fault_is_said_with_its_place(tmp_path, change, says):
    assert says in fault_of(tmp_path, f"tables: {json.dumps(dict(demo=TABLE | change))}")


def test_all_faults_are_told_together(tmp_path):
    said = fault_of(tmp_path, f"tables: {json.dumps(dict(one=TABLE | dict(title=''), two=7))}")
    assert "one.title: is missing" in said
    assert "two: must map title, source, note" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tables: {demo: [1, 2}", "line 1, column 21: expected"),
        ("tables:\n  demo: {title: a}\n  demo: {title: b}\n", "line 3, column 3: the key 'demo' is repeated"),
        ("tables: *nobody", "line 1, column 9: found undefined alias 'nobody'"),
        ("tables:\n\tdemo: 1", "line 2, column 1: found character '\\t'"),
        ("tables: {}", "tables: is missing"),
        ("", "tables: is missing"),
        ("- 1", "tables: is missing"),
        ("tables: !!python/name:os.system {}", "line 1, column 9: could not determine a constructor"),
    ],
)
def test_what_is_no_tables_file_is_said_with_its_line(tmp_path, text, says):
    assert says in fault_of(tmp_path, text)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)none\.yaml.*there is no such file"):
        read_tables(tmp_path / "none.yaml")


def test_numbers_are_read_as_numbers_and_merged_values_are_kept(tmp_path):
    (tmp_path / "x.py").touch()
    content = json.dumps({"demo": TABLE})[:-2] + ', "note": *n}}'
    content = content.replace('"config": "x.py", "paper"', '"config": "x.py", "options": {<<: *o, "b": 1e-3}, "paper"')
    (tmp_path / "tables.yaml").write_text(f"shared: [&o {{a: 2, b: 5}}, &n as told]\ntables: {content}\n")
    table = read_tables(tmp_path / "tables.yaml")["demo"]
    assert table.rows[0].options == {"a": 2, "b": 0.001}
    assert table.note == "as told"
