"""Every benchmark from its archives to a run, and each way in which that can go wrong."""

from __future__ import annotations

import errno
import io
import json
import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from metricforge.cli.main import main
from metricforge.errors import DatasetError
from metricforge.preparation import BENCHMARKS, prepare

QUIET = Console(quiet=True)


def tar_of(folder: Path, file: Path, inside: str) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        tar.add(folder, arcname=inside)
    return file


def zip_of(folder: Path, file: Path) -> Path:
    return Path(shutil.make_archive(str(file.with_suffix("")), "zip", folder.parent, folder.name))


@pytest.fixture
def archives(make_benchmark, tmp_path):
    """The files that a benchmark is published in, made of a tiny one."""

    def make(name: str) -> list[Path]:
        out = tmp_path / "published"
        out.mkdir()
        root = make_benchmark(name, tmp_path / "made" / BENCHMARKS[name].folder)
        if name == "cub200":
            return [tar_of(root, out / "CUB_200_2011.tgz", root.name)]
        if name == "cars196":
            return [tar_of(root / "car_ims", out / "car_ims.tgz", "car_ims"), root / "cars_annos.mat"]
        if name == "sop":
            return [zip_of(root, out / "Stanford_Online_Products.zip")]
        return [zip_of(root / "img", out / "img.zip"), root / "list_eval_partition.txt"]

    return make


def run(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


def visible(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.endswith(".lock"))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_each_benchmark_goes_by_the_command_from_its_archives_to_a_trained_and_tested_model(
    name, archives, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    benchmark = BENCHMARKS[name]
    sources = [argument for file in archives(name) for argument in ("--from", str(file))]
    assert run("data", "prepare", name, "--unofficial", *sources) == 0
    said = capsys.readouterr().out
    assert visible(tmp_path / "data") == [benchmark.folder]
    assert "test: 12 images of 3 classes" in said or "test: 8 images of 2 classes" in said

    assert run("data", "prepare", name, "--unofficial") == 0
    assert "was there already and is whole" in capsys.readouterr().out

    # the two commands that preparing proposes, as they are printed, the second with a model for the test's seconds
    proposed = [line.partition("metricforge ") for line in said.splitlines() if line.startswith("  ")]
    train, check = (words.split() for _, command, words in proposed if command)
    run(*check)
    checked = capsys.readouterr().out
    assert "24 images of 6 classes (12 train, 12 test)" in checked or "16 images of 4 classes" in checked
    assert "cannot be read" not in checked

    config = train[1]
    small = [
        *train[3:],
        *(f"{part}_dataloader.num_workers=0" for part in ("train", "test")),
        "model.backbone.type=GlyphNet",
        "model.head.dim=8",
        "train_dataloader.sampler.classes_per_batch=2",
        "train_dataloader.sampler.samples_per_class=2",
        "train_dataloader.sampler.batches_per_epoch=2",
        "evaluators.0.ks=[1,2]",
    ]
    options = [config, "--device", "cpu", "--cfg-options", *small]
    assert train[0] == "train"
    assert run("train", *options, "train_cfg.max_epochs=1", "train_cfg.warmup_epochs=0", "--work-dir", "run") == 0
    trained = json.loads(Path("run/scores.json").read_text())
    newest = str(max(Path("run").glob("iter_*.pth")))
    assert run("test", config, newest, "--work-dir", "tested", *options[1:]) == 0
    tested = json.loads(Path("tested/scores.json").read_text())
    assert tested["scores"] == trained["scores"]
    assert tested["protocol"]["dataset"] == trained["protocol"]["dataset"]


def test_a_part_is_refused_unless_it_is_said_to_be_one(archives, tmp_path):
    benchmark = replace(BENCHMARKS["sop"], archives=(replace(BENCHMARKS["sop"].archives[0], md5=None),))
    with pytest.raises(
        DatasetError, match=r"is not the complete Stanford Online Products; nothing was kept\.\n.*59,551"
    ):
        prepare(benchmark, tmp_path / "data", archives("sop"), console=QUIET)
    assert visible(tmp_path / "data") == []


def test_an_unofficial_archive_is_refused_unless_it_is_said_to_be_one(archives, tmp_path):
    (archive,) = archives("cub200")
    with pytest.raises(DatasetError, match=r"is not the official CUB_200_2011\.tgz \(MD5 \w{32}, not 97eceeb\w+\)"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [archive], console=QUIET)
    other = archive.rename(archive.with_name("birds.tgz"))
    with pytest.raises(DatasetError, match=r"comes in CUB_200_2011\.tgz; rename the file"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [other], console=QUIET)
    with pytest.raises(DatasetError, match=r"nowhere\.tgz: there is no such file"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [tmp_path / "nowhere.tgz"], console=QUIET)
    assert not (tmp_path / "data").exists()


def test_a_missing_list_file_leaves_nothing_behind(make_benchmark, tmp_path):
    root = make_benchmark("cub200", tmp_path / "CUB_200_2011")
    (root / "images.txt").unlink()
    archive = tar_of(root, tmp_path / "CUB_200_2011.tgz", root.name)
    with pytest.raises(DatasetError, match=r"(?s)nothing was kept.*which lacks images\.txt"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [archive], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_a_folder_that_is_there_and_not_whole_is_never_taken_for_complete(make_benchmark, tmp_path):
    root = make_benchmark("sop", tmp_path / "data" / "Stanford_Online_Products")
    (root / "Ebay_test.txt").unlink()
    with pytest.raises(
        DatasetError, match=r"(?s)already exists and is incomplete; remove it or move it away.*lacks Ebay_test\.txt"
    ):
        prepare(BENCHMARKS["sop"], tmp_path / "data", unofficial=True, console=QUIET)
    assert (root / "Ebay_train.txt").exists()


@pytest.mark.parametrize("keep", [0.3, 0.9])
@pytest.mark.parametrize("name", ["cub200", "sop"])
def test_an_archive_that_was_cut_off_leaves_nothing_behind(archives, tmp_path, name, keep):
    (archive,) = archives(name)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(DatasetError, match=r"is damaged or was cut off|is not an archive, or is damaged"):
        prepare(BENCHMARKS[name], tmp_path / "data", [archive], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


@pytest.mark.parametrize("packing", ["gz", "bz2", "xz"])
def test_an_archive_with_damaged_bytes_in_its_middle_leaves_nothing_behind(make_benchmark, tmp_path, packing):
    root = make_benchmark("cub200", tmp_path / "made" / "CUB_200_2011")
    (root / "noise.bin").write_bytes(np.random.default_rng(0).bytes(2_000_000))
    archive = tmp_path / f"CUB.tar.{packing}"
    with tarfile.open(archive, f"w:{packing}") as tar:
        for file in (*sorted(file for file in root.iterdir() if file.suffix != ".bin"), root / "noise.bin"):
            tar.add(file, arcname=f"CUB_200_2011/{file.name}")
    content = bytearray(archive.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=r"CUB\.tar\.\w+ is damaged or was cut off"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [archive], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_a_zip_that_is_compressed_in_an_unknown_way_says_what_to_do(archives, tmp_path):
    images, partition = archives("inshop")
    content = bytearray(images.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = -1
        while (place := content.find(magic, place + 1)) >= 0:
            content[place + offset] = 97
    images.write_bytes(content)
    with pytest.raises(DatasetError, match=r"img\.zip is compressed in a way that cannot be read here"):
        prepare(BENCHMARKS["inshop"], tmp_path / "data", [images, partition], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


@pytest.mark.parametrize(
    ("name", "listing"),
    [("cub200", "images.txt"), ("sop", "Ebay_train.txt"), ("inshop", "list_eval_partition.txt")],
)
def test_a_list_file_that_is_no_text_is_named(make_benchmark, tmp_path, name, listing):
    root = make_benchmark(name, tmp_path / "data" / BENCHMARKS[name].folder)
    (root / listing).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=rf"{listing} is not text .*damaged"):
        prepare(BENCHMARKS[name], tmp_path / "data", unofficial=True, console=QUIET)


@pytest.mark.parametrize("kind", ["parent", "absolute", "link", "zip parent", "zip absolute", "zip link"])
def test_an_archive_that_reaches_outside_of_its_folder_is_refused(tmp_path, kind):
    outside = tmp_path / "outside.txt"
    name = "../../outside.txt" if "parent" in kind else str(outside) if "absolute" in kind else "link"
    archive = tmp_path / f"evil.{'zip' if 'zip' in kind else 'tar'}"
    if "zip" in kind:
        with zipfile.ZipFile(archive, "w") as content:
            member = zipfile.ZipInfo(name)
            if "link" in kind:
                member.external_attr = 0o120777 << 16
            content.writestr(member, "../../outside.txt")
    else:
        with tarfile.open(archive, "w") as content:
            member = tarfile.TarInfo(name)
            member.size = 4
            if kind == "link":
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "../../outside.txt", 0
            content.addfile(member, io.BytesIO(b"evil"))
    told = {
        "absolute": "holds no folder CUB_200_2011",  # tarfile unpacks it below the folder, where it is no harm
        "link": r"evil\.tar is refused because it reaches outside its folder: .*link",
        "zip link": r"evil\.zip is refused because it contains a link",
    }.get(kind, r"evil\.\w+ is refused because it .*outside its folder")
    with pytest.raises(DatasetError, match=told):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [archive], unofficial=True, console=QUIET)
    assert not outside.exists()
    assert visible(tmp_path / "data") == []


def test_a_link_in_a_zip_that_is_whole_otherwise_is_refused(archives, tmp_path):
    images, partition = archives("inshop")
    with zipfile.ZipFile(images, "a") as content:
        link = zipfile.ZipInfo("img/WOMEN/outside.jpg")
        link.external_attr = 0o120777 << 16
        content.writestr(link, "/etc/hostname")
    with pytest.raises(DatasetError, match=r"contains a link \('img/WOMEN/outside\.jpg'\), which may lead outside"):
        prepare(BENCHMARKS["inshop"], tmp_path / "data", [images, partition], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_an_encrypted_zip_says_what_to_do(archives, tmp_path, monkeypatch):
    images, partition = archives("inshop")
    infolist = zipfile.ZipFile.infolist

    def encrypted(self):
        members = infolist(self)
        members[-1].flag_bits |= 1
        return members

    monkeypatch.setattr(zipfile.ZipFile, "infolist", encrypted)
    with pytest.raises(DatasetError, match=r"img\.zip is encrypted; unpack it with the password"):
        prepare(BENCHMARKS["inshop"], tmp_path / "data", [images, partition], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


@pytest.mark.parametrize("name", ["cub200", "sop", "inshop"])
def test_a_disk_that_fills_up_while_unpacking_leaves_nothing_behind(archives, tmp_path, monkeypatch, name):
    sources = archives(name)
    copied = iter(range(3))
    for module in (shutil, tarfile):

        def fill_up(*arguments, copy=module.copyfileobj):
            if next(copied, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")
            return copy(*arguments)

        monkeypatch.setattr(module, "copyfileobj", fill_up)
    with pytest.raises(DatasetError, match=r"the disk of .* is too full .* free some space, or name another disk"):
        prepare(BENCHMARKS[name], tmp_path / "data", sources, unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_a_folder_that_cannot_be_made_or_written_says_so(archives, tmp_path, monkeypatch):
    (archive,) = archives("cub200")
    (tmp_path / "file").write_text("")
    for data_dir in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DatasetError, match=r"cannot be written to \(.*\); name another folder: --data-dir"):
            prepare(BENCHMARKS["cub200"], data_dir, [archive], unofficial=True, console=QUIET)

    def refuse(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tarfile.TarFile, "extract", refuse)
    with pytest.raises(DatasetError, match=r"data cannot be written to \(.*Permission denied\)"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", [archive], unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_a_disk_without_room_is_said_before_anything_is_unpacked(archives, tmp_path, monkeypatch):
    sources = archives("cub200")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match=r"too full to unpack 0\.0 GB \(0\.0 GB are free\)"):
        prepare(BENCHMARKS["cub200"], tmp_path / "data", sources, unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == []


def test_what_a_killed_run_left_is_removed_first(archives, tmp_path):
    sources = archives("cars196")
    left = tmp_path / "data" / ".cars196.unfinished" / "car_ims"
    left.mkdir(parents=True)
    (left / "999999.jpg").write_text("half")
    prepare(BENCHMARKS["cars196"], tmp_path / "data", sources, unofficial=True, console=QUIET)
    assert visible(tmp_path / "data") == ["cars196"]
    assert not (tmp_path / "data" / "cars196" / "car_ims" / "999999.jpg").exists()


def test_what_is_given_out_by_hand_says_where(tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)get img\.zip and list_eval_partition\.txt from https://mmlab.*--from"):
        prepare(BENCHMARKS["inshop"], tmp_path / "data", console=QUIET)


def test_the_list_says_what_is_there(make_benchmark, tmp_path, capsys):
    make_benchmark("cars196", tmp_path / "cars196")
    main(["data", "list", "--data-dir", str(tmp_path)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert [" no " in line for line in lines if line.startswith("│ cars196")] == [False]
    assert [" no " in line for line in lines if line.startswith("│ sop")] == [True]
