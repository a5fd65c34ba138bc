"""``metricforge data check`` on an index of tar shards."""

from __future__ import annotations

import re
import tarfile

import fsspec
import pytest

from metricforge.cli.main import main
from metricforge.preparation import index_shards


def test_the_doctor_asks_once_for_shards_that_cannot_be_reached(indexed, capsys, monkeypatch):
    def refuse(self, path, **of):
        asked.append(path)
        raise PermissionError("no key")

    asked = []
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "cat_file", refuse)
    with pytest.raises(SystemExit):
        main(["data", "check", str(indexed), "--root", "memory://locked"])
    assert re.search(
        r"memory://locked/train-\d\.tar cannot be read \(PermissionError: no key\)", capsys.readouterr().err
    )
    assert len(asked) == 1


def test_the_doctor_looks_through_shards(pack, indexed, shards, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twin = {name: content for name, content in contents(shards[0]).items() if name.endswith(".png")}
    first, image = next(iter(twin.items()))
    bad = [
        ("new/twin.png", image),
        ("new/twin.cls", b"class_x"),
        ("new/cut.png", image[:90]),
        ("new/cut.cls", b"class_x"),
    ]
    index_shards([*map(str, shards), str(pack(tmp_path / "bad.tar", bad))], indexed)
    with pytest.raises(SystemExit):
        main(["data", "check", str(indexed)])
    out = capsys.readouterr().out
    assert re.search(rf"train-0\.tar@\d+\+\d+/{first} = bad\.tar@\d+\+\d+/new/twin\.png  \(class_\d / class_x\)", out)
    assert re.search(r"cannot be read\n  bad\.tar@\d+\+\d+/new/cut\.png", out)
    assert (tmp_path / "data_check" / "i" / "findings.png").is_file()


def contents(shard):
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}
