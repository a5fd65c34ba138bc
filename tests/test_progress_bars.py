import io

import pytest
from rich.console import Console

from metricforge.progress_bars import download_bar, progress_bar, progress_bars, read_with_bar


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def shown(console):
    return console.file.getvalue()


def test_a_bar_shows_how_many_of_how_many(terminal):
    with progress_bar(terminal, "embedding", 7, done=2) as advance:
        advance(3)
    assert "embedding" in shown(terminal)
    assert "5/7" in shown(terminal)


def test_a_bar_of_several_is_shown_from_its_first_piece_on(terminal):
    with progress_bars(terminal, 7, "embedding", "indexing", "never begun") as (embedded, indexed, _):
        embedded(7)
        indexed(4)
    assert "7/7" in shown(terminal)
    assert "4/7" in shown(terminal)
    assert "never begun" not in shown(terminal)


def test_a_download_shows_bytes_once_their_number_is_known(terminal):
    with download_bar(terminal, "images.tar") as update:
        update(500, None)
        update(1500, 3000)
    assert "1.5/3.0 kB" in shown(terminal)


def test_a_file_is_read_to_its_end_beside_a_bar(terminal, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 2000)
    with read_with_bar(terminal, "unpacking [file]", tmp_path / "file") as content:
        assert content.read() == b"x" * 2000
    assert "unpacking [file]" in shown(terminal)
    assert "2.0/2.0 kB" in shown(terminal)


def test_a_log_file_gets_no_bar(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    log = Console(file=io.StringIO())
    with progress_bar(log, "a", 7) as advance, download_bar(log, "b") as update:
        advance(1)
        update(1, 2)
    with read_with_bar(log, "c", tmp_path / "file") as content:
        assert content.read() == b"x"
    assert not shown(log).strip()
