import io
from base64 import b64decode

import pytest
from PIL import Image

from metricforge.report.html import Thumbnails


def _picture(number: int) -> Image.Image:
    if number == 3:
        raise OSError("no such file")
    return Image.effect_noise((300, 150), 80 + number).convert("RGB")


def test_pictures_are_small_upright_and_each_is_there_once():
    thumbnails = Thumbnails(_picture)
    thumbnails.add([5, 2, 5])
    assert list(thumbnails.to_json()) == ["5", "2"]
    assert Image.open(io.BytesIO(b64decode(thumbnails.to_json()["2"]))).size == (96, 48)


def test_what_cannot_be_read_is_passed_over_and_known():
    thumbnails = Thumbnails(_picture)
    thumbnails.add([3, 4])
    assert thumbnails.unreadable == [3]
    assert 4 in thumbnails


@pytest.mark.parametrize("budget", [1, 20_000])
def test_the_budget_is_kept_and_what_is_left_out_is_counted(budget):
    thumbnails = Thumbnails(_picture, budget)
    thumbnails.add(range(10, 60))
    sizes = [len(b64decode(text)) for text in thumbnails.to_json().values()]
    assert sum(sizes[:-1]) < budget
    assert len(sizes) + thumbnails.left_out == 50
    assert thumbnails.left_out
