import json

import pytest

from metricforge.errors import MetricForgeError
from metricforge.run_records.history import History, read_history


def filled(folder):
    history = History(folder)
    history.start(0)
    for iteration in (10, 20, 30, 40):
        history.add_losses(iteration, iteration / 20, [0.1, 0.2], {"loss": 1 / iteration})
        if iteration % 20 == 0:
            history.add_scores(iteration, iteration / 20, {"recall@1": iteration / 100}, "validation classes")
    return history


def test_each_line_of_the_file_is_json_of_its_own(tmp_path):
    filled(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines[0] == {"iteration": 10, "epoch": 0.5, "lr": [0.1, 0.2], "losses": {"loss": 0.1}}
    assert lines[2] == {"iteration": 20, "epoch": 1.0, "of": "validation classes", "scores": {"recall@1": 0.2}}
    assert read_history(tmp_path) == lines


@pytest.mark.parametrize(
    ("iteration", "losses", "scores"),
    [(0, [], []), (25, [10, 20], [20]), (20, [10, 20], []), (99, [10, 20, 30, 40], [20, 40])],
)
def test_taking_a_run_up_drops_what_it_will_write_again(tmp_path, iteration, losses, scores):
    filled(tmp_path).start(iteration)
    lines = read_history(tmp_path)
    assert [line["iteration"] for line in lines if "losses" in line] == losses
    assert [line["iteration"] for line in lines if "scores" in line] == scores


def test_a_last_line_that_a_crash_cut_is_left_out_and_then_gone(tmp_path):
    history = filled(tmp_path)
    whole = (tmp_path / "history.jsonl").read_text()
    (tmp_path / "history.jsonl").write_text(whole + '{"iteration": 5')
    assert len(read_history(tmp_path)) == 6
    history.start(99)
    assert (tmp_path / "history.jsonl").read_text() == whole


@pytest.mark.parametrize("broken", [b"what is this", b"\xff\xfe\x00", b"\x00" * 9, b'{"iteration": "4"}', b"[4]", b""])
def test_a_broken_line_in_the_middle_is_an_error_that_names_it(tmp_path, broken):
    filled(tmp_path)
    lines = (tmp_path / "history.jsonl").read_bytes().splitlines()
    lines[1] = broken
    (tmp_path / "history.jsonl").write_bytes(b"\n".join(lines))
    with pytest.raises(
        MetricForgeError, match=r"history\.jsonl, line 2: is not a line of a run's history: .*; remove it"
    ):
        History(tmp_path).start(20)


def test_a_process_that_does_not_write_leaves_the_file_alone(tmp_path):
    filled(tmp_path)
    before = (tmp_path / "history.jsonl").read_text()
    other = History(tmp_path, writes=False)
    other.start(0)
    other.add_scores(50, 2.5, {"recall@1": 0.5}, "validation classes")
    assert (tmp_path / "history.jsonl").read_text() == before


def test_a_folder_without_a_history_has_no_lines(tmp_path):
    assert read_history(tmp_path) == []
