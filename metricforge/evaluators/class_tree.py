"""The ancestors of classes, from a file or from WordNet."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

WORDNET_FOLDERS = ("/usr/share/wordnet", "/usr/local/WordNet-3.0/dict", "/usr/share/wordnet/dict")
HYPERNYMS = ("@", "@i")  # WordNet's symbols for "is a kind of" and "is an instance of"


class ClassTree:
    """Each name's parents; a name may have several, as in WordNet, but is never its own ancestor.

    Args:
        parents: name -> names of its parents.

    Raises:
        ValueError: if a name is its own ancestor.
    """

    def __init__(self, parents: Mapping[str, Sequence[str]]) -> None:
        try:
            TopologicalSorter(parents).prepare()
        except CycleError as error:
            raise ValueError(f"the class tree goes in a circle: {' -> '.join(reversed(error.args[1]))}") from error
        self._parents = parents
        self._names = set(parents).union(*parents.values())

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def generations(self, name: str) -> list[list[str]]:
        """``name`` itself, then its parents, their parents, ...: each ancestor once, at its shortest distance."""
        generations, known = [[name]], {name}
        while generations[-1]:
            above = [parent for one in generations[-1] for parent in self._parents.get(one, ())]
            generations.append([parent for parent in dict.fromkeys(above) if parent not in known])
            known.update(generations[-1])
        return generations[:-1]


def read_class_tree(source: str | Path) -> ClassTree:
    """Read a tree from a CSV file with the columns ``child`` and ``parent``, or ``"wordnet"``: the installed WordNet.

    WordNet's names are those of ImageNet, such as ``n01443537``: the offset in WordNet 3.0's ``data.noun``, which is
    looked for in the folder that ``WNSEARCHDIR`` names and where Debian's ``wordnet-base`` puts it.

    Raises:
        ValueError: for a file that is absent, lacks a column or holds a cycle, or if WordNet is not installed.
    """
    path = find_class_tree(source)
    if str(source) == "wordnet":
        return ClassTree(_wordnet_parents(path))
    parents: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        if not {"child", "parent"} <= set(table.fieldnames or ()):
            raise ValueError(
                f'tree: {path} must have the columns "child" and "parent", '
                f"got {', '.join(table.fieldnames or ()) or 'none'}"
            )
        for row in table:
            if not row["child"] or not row["parent"]:
                raise ValueError(f"tree: line {table.line_num} of {path} must name a child and its parent, got {row}")
            parents.setdefault(row["child"], []).append(row["parent"])
    return ClassTree(parents)


def find_class_tree(source: str | Path) -> Path:
    """Return the file that ``read_class_tree`` reads.

    Raises:
        ValueError: if there is none.
    """
    if str(source) == "wordnet":
        own = os.environ.get("WNSEARCHDIR")
        files = [Path(folder) / "data.noun" for folder in ([own] if own else WORDNET_FOLDERS)]
        found = next((path for path in files if path.is_file()), None)
        if found is not None:
            return found
        raise ValueError(
            f'tree="wordnet" needs WordNet\'s data.noun, which was looked for as {", ".join(map(str, files))}; install '
            'it (Debian: wordnet-base), name its folder in WNSEARCHDIR, or give a CSV file with "child" and "parent"'
        )
    if not Path(source).is_file():
        raise ValueError(
            f'tree: there is no file {source}; give a CSV file with the columns "child" and "parent", or "wordnet"'
        )
    return Path(source)


def _wordnet_parents(nouns: Path) -> dict[str, list[str]]:
    parents = {}
    with nouns.open(encoding="ascii") as file:
        for line in file:
            if line.startswith(" "):  # the licence
                continue
            # offset, file, kind, words (hexadecimal), each with a number, pointers, each with mark, offset, kind, ends
            fields = line.split(" | ")[0].split()
            first = 4 + 2 * int(fields[3], 16)
            pointers = fields[first + 1 : first + 1 + 4 * int(fields[first])]
            parents[f"n{fields[0]}"] = [
                f"n{offset}" for mark, offset in zip(pointers[::4], pointers[1::4], strict=True) if mark in HYPERNYMS
            ]
    return parents
