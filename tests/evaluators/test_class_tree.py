from __future__ import annotations

import pytest

from metricforge.evaluators.class_tree import ClassTree, read_class_tree

PARENTS = {
    "cat": ["feline"],
    "feline": ["mammal"],
    "dog": ["mammal", "pet"],
    "pet": ["thing"],
    "mammal": ["thing"],
}

# Two nouns and their parents in WordNet's own format, shortened: a word, its pointers (hypernym, instance, and others).
DATA_NOUN = """\
  1 This software and database is being provided to you
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is
00001930 03 n 01 physical_entity 0 002 @ 00001740 n 0000 ~ 01443537 n 0000 | an entity
01443537 05 n 02 goldfish 0 Carassius_auratus 0 003 @ 00001930 n 0000 #m 00001740 n 0000 + 00001740 v 0101 | small fish
09999999 18 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 001 @i 01443537 n 0000 | ten words; an instance
"""


def test_generations_climb_one_step_at_a_time_and_name_everyone_once():
    tree = ClassTree(PARENTS)
    assert tree.generations("cat") == [["cat"], ["feline"], ["mammal"], ["thing"]]
    assert tree.generations("dog") == [["dog"], ["mammal", "pet"], ["thing"]]
    assert tree.generations("thing") == [["thing"]]
    assert ("thing" in tree, "pet" in tree, "fish" in tree) == (True, True, False)


def test_a_circle_is_refused_and_shown():
    with pytest.raises(ValueError, match=r"in a circle: (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c)$"):
        ClassTree({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]})


def test_a_csv_file_is_read(tmp_path):
    file = tmp_path / "tree.csv"
    file.write_text("\ufeffparent,note,child\nmammal,x,cat\nmammal,,dog\npet,,dog\n", encoding="utf-8")
    tree = read_class_tree(file)
    assert tree.generations("dog") == [["dog"], ["mammal", "pet"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("child\ncat\n", 'must have the columns "child" and "parent", got child'),
        ("", 'must have the columns "child" and "parent", got none'),
        ("child,parent\ncat,mammal\ndog,\n", "line 3 of .* must name a child and its parent"),
        ("child,parent\na,b\nb,a\n", "in a circle"),
    ],
)
def test_a_file_that_is_no_tree_is_refused(tmp_path, content, message):
    file = tmp_path / "tree.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_class_tree(file)


def test_an_absent_file_is_named_with_both_ways_out(tmp_path):
    with pytest.raises(ValueError, match=r'no file .*none\.csv; .*"child" and "parent", or "wordnet"'):
        read_class_tree(tmp_path / "none.csv")


def test_wordnet_s_nouns_are_read_from_the_folder_that_is_named(tmp_path, monkeypatch):
    (tmp_path / "data.noun").write_text(DATA_NOUN)
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    tree = read_class_tree("wordnet")
    assert tree.generations("n01443537") == [["n01443537"], ["n00001930"], ["n00001740"]]
    assert tree.generations("n09999999")[1] == ["n01443537"]


def test_without_wordnet_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    with pytest.raises(ValueError, match=r"data\.noun, which was looked for as .*wordnet-base.*WNSEARCHDIR.*CSV"):
        read_class_tree("wordnet")


def test_the_installed_wordnet_knows_imagenet_s_goldfish(monkeypatch):
    monkeypatch.delenv("WNSEARCHDIR", raising=False)
    try:
        tree = read_class_tree("wordnet")
    except ValueError as absent:
        pytest.skip(str(absent))
    ancestors = [name for names in tree.generations("n01443537") for name in names]
    assert ancestors[-1] == "n00001740"  # entity
    assert "n02512053" in ancestors  # fish
