from __future__ import annotations

import numpy as np

from metricforge.datasets.glyphs.glyph_pictures import merge_glyphs


def merged(table):
    """Classes of ``{character: pictures}``, a number a font standing for a picture, as ``{name: numbers}``."""
    pictures = np.zeros((len(table), len(next(iter(table.values()))), 40, 40), np.uint8)
    for row, numbers in enumerate(table.values()):
        pictures[row, :, 0, 0] = numbers
    fonts = tuple(f"font{i}" for i in range(pictures.shape[1]))
    glyphs = merge_glyphs(list(table), pictures, fonts)
    return {name: glyphs.pictures[glyphs.classes == c, 0, 0].tolist() for c, name in enumerate(glyphs.class_names)}


def test_characters_alike_in_three_fonts_are_one_class_and_keep_each_picture_once():
    assert merged({"A": [1, 2, 3, 4], "B": [5, 6, 7, 8], "C": [1, 2, 3, 9]}) == {
        "A C": [1, 2, 3, 4, 9],
        "B": [5, 6, 7, 8],
    }


def test_characters_alike_in_two_fonts_stay_two_classes_without_the_shared_pictures():
    assert merged({"A": [1, 2, 3, 4], "B": [1, 2, 5, 6]}) == {"A": [3, 4], "B": [5, 6]}


def test_a_chain_of_likeness_is_one_class():
    table = {"A": [1, 2, 3, 4, 5, 6], "B": [7, 8, 9, 10, 11, 12], "C": [1, 2, 3, 10, 11, 12]}
    assert merged(table) == {"A B C": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]}


def test_pictures_shared_across_fonts_do_not_merge_but_are_left_out():
    assert merged({"A": [1, 2, 3, 4], "B": [4, 5, 6, 7]}) == {"A": [1, 2, 3], "B": [5, 6, 7]}


def test_a_class_with_fewer_than_two_pictures_left_is_no_class():
    assert merged({"A": [1, 1, 1, 1], "B": [2, 2, 3, 3]}) == {"B": [2, 3]}
