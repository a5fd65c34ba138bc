"""Processes that were not started alike are told apart before the first update, on every one of them."""

from __future__ import annotations

import copy
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from metricforge import build_runner
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.distributed import start_facts as start_facts_module
from metricforge.engine.distributed.agreement import check_same
from metricforge.engine.distributed.processes import Processes
from metricforge.engine.distributed.start_facts import start_facts
from metricforge.errors import ProcessesDifferError
from metricforge.testing import run_in_processes

RANK = 1  # the one that is started in another way


def refused(config, folder, change):
    """The message, on this process, where process 1 was started with a ``change``."""
    config = copy.deepcopy(config)
    arguments = {}
    if Processes.current().rank == RANK:
        arguments = change(config) or {}
    with pytest.raises(ProcessesDifferError) as caught:
        build_runner(config, work_dir=folder, device="cpu", **arguments)
    return str(caught.value)


def other_margin(config):
    config["model"]["loss"]["margin"] = 0.75


def other_seed(config):
    return dict(seed=8)


def resuming(config):
    return dict(resume="auto")


def copied_without_an_image(config):
    config["train_dataloader"]["dataset"]["root"] = config["train_dataloader"]["dataset"]["root"] + "-fewer"


def copied_with_another_image(config):
    config["train_dataloader"]["dataset"]["root"] = config["train_dataloader"]["dataset"]["root"] + "-other"


CHANGES = (other_margin, other_seed, resuming, copied_without_an_image, copied_with_another_image)


def all_refusals(config, folder):
    found = {change.__name__: refused(config, f"{folder}/{change.__name__}", change) for change in CHANGES}
    found["reordered"] = refused_order(config, f"{folder}/reordered")
    found["code"] = refused_code(config, f"{folder}/code")
    return found


def refused_order(config, folder):
    original = ImageFolderDataset.__init__
    if Processes.current().rank == RANK:

        def swapped(self, *args, **kwargs):
            original(self, *args, **kwargs)
            files = list(self.files)
            files[0], files[1] = files[1], files[0]
            self.files = type(self.files)(files)

        ImageFolderDataset.__init__ = swapped
    try:
        return refused(config, folder, lambda config: None)
    finally:
        ImageFolderDataset.__init__ = original


def refused_code(config, folder):
    package = start_facts_module.PACKAGE
    if Processes.current().rank == RANK:
        start_facts_module.PACKAGE = Path(f"{folder}-package")
        shutil.copytree(package, start_facts_module.PACKAGE)
        (start_facts_module.PACKAGE / "losses" / "triplet_loss.py").write_text("# an older one\n")
    try:
        return refused(config, folder, lambda config: None)
    finally:
        start_facts_module.PACKAGE = package


@pytest.fixture(scope="module")
def folders(image_folder, tmp_path_factory):
    """Copies of the images beside each other: the same, one image less, and one image of other bytes."""
    root = tmp_path_factory.mktemp("copies") / "images"
    for copied in (root, Path(f"{root}-fewer"), Path(f"{root}-other")):
        for file in sorted(image_folder.rglob("*.png")):
            target = copied / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    (Path(f"{root}-fewer") / "class_0" / "3.png").unlink()
    other = Path(f"{root}-other") / "class_1" / "2.png"
    other.write_bytes(other.read_bytes() + b"\0")
    return root


@pytest.fixture
def config(tiny_config, folders):
    for loader in ("train_dataloader", "test_dataloader"):
        tiny_config[loader]["dataset"]["root"] = str(folders)
    tiny_config["train_dataloader"]["sampler"] |= dict(classes_per_batch=3)
    return tiny_config


@pytest.mark.slow
def test_each_process_says_what_differs_and_which_process_it_is(config, tmp_path):
    found = run_in_processes(all_refusals, 3, config, tmp_path)
    assert found[0] == found[1] == found[2]
    said = found[0]
    assert "\n  - model.loss.margin: 0.5 on processes 0 and 2, 0.75 on process 1\n" in said["other_margin"]
    assert "\n  - seed: 3 on processes 0 and 2, 8 on process 1\n" in said["other_seed"]
    assert "\n  - --resume: False on processes 0 and 2, 'auto' on process 1\n" in said["resuming"]
    assert (
        "\n  - training images: 24 images of 4 classes on processes 0 and 2, 23 images of 4 classes on process 1\n"
        in said["copied_without_an_image"]
    )
    size = (Path(config["train_dataloader"]["dataset"]["root"]) / "class_1" / "2.png").stat().st_size
    assert (
        f"\n  - training images: image 8 is 'class_1/2.png' of class 'class_1' ({size} bytes) on processes 0 and 2, "
        f"'class_1/2.png' of class 'class_1' ({size + 1} bytes) on process 1\n" in said["copied_with_another_image"]
    )
    assert "training images: image 0 is 'class_0/0.png' of class 'class_0'" in said["reordered"]
    assert "'class_0/1.png' of class 'class_0'" in said["reordered"]
    assert "code of metricforge/losses/triplet_loss.py: " in said["code"]


def test_places_and_workers_are_each_machine_s_own(tiny_config):
    before = start_facts(tiny_config, {})
    tiny_config["train_dataloader"]["dataset"]["root"] = "/elsewhere"
    tiny_config["test_dataloader"] |= dict(num_workers=3, cache="/tmp/cache")
    assert start_facts(tiny_config, {}) == before
    tiny_config["optim_wrapper"]["optimizer"]["lr"] = 1
    assert start_facts(tiny_config, {}) != before


def resumed(config, folder):
    """Process 1 has a disk of its own, which lacks the checkpoint."""
    runner = build_runner(config, work_dir=folder, device="cpu", resume=True)
    if runner.processes.rank == RANK:
        object.__setattr__(runner._resume_point, "path", Path("/other/disk/iter_18.pth"))
    with pytest.raises(ProcessesDifferError) as caught:
        runner.train()
    return str(caught.value)


@pytest.mark.slow
def test_a_checkpoint_that_one_process_does_not_have_ends_all(tiny_config, tmp_path):
    build_runner(tiny_config, work_dir=tmp_path, device="cpu").train()
    tiny_config["train_cfg"]["max_epochs"] = 4
    for message in run_in_processes(resumed, 2, tiny_config, tmp_path):
        assert "there is no such checkpoint on process 1" in message


def compared():
    processes = Processes.current()
    check_same(processes, {"torch": "2.6", "seed": "3"})
    other = {"seed": "4", "extra": "1"} if processes.is_main else {"seed": "3"}
    with pytest.raises(ProcessesDifferError) as caught:
        check_same(processes, {"torch": "2.6"} | other)
    return str(caught.value)


def test_facts_that_differ_are_told_alike_on_every_process():
    found = run_in_processes(compared, 3)
    assert len(set(found)) == 1
    assert (
        "not started alike:\n  - seed: 4 on process 0, 3 on processes 1 and 2\n"
        "  - extra: 1 on process 0, absent on processes 1 and 2\n" in found[0]
    )
    assert "torch" not in found[0]


def draws():
    return [float(torch.rand(())), float(np.random.rand()), random.random()]


class Restless(torch.nn.Module):
    """Draws from every generator, as often as its images say, and so another number of times on each process."""

    def forward(self, images):
        for _ in range(int(images.sum())):
            draws()
        self.own = draws()
        return images


def draw_after_embedding():
    from metricforge.engine.distributed.data_parallel_step import SharedStep
    from metricforge.engine.loading.seeding import seed_all

    processes = Processes.current()
    learner = Restless()
    learner.embed_in_training = learner.forward
    learner.register_buffer("started", torch.tensor(processes.rank + 5.0))
    learner.register_buffer("flag", torch.tensor(processes.is_main))
    seed_all(11)
    SharedStep(learner, processes).embed(torch.full((2, 3), float(processes.rank)))
    return learner.own, draws(), float(learner.started), bool(learner.flag)


def test_however_much_an_embedding_draws_all_processes_draw_alike_after_it():
    found = run_in_processes(draw_after_embedding, 3)
    assert len({str(after) for _, after, _, _ in found}) == 1
    for kind in range(3):  # torch's, numpy's and Python's
        assert len({own[kind] for own, *_ in found}) == 3, "each process draws its own in the embedding"
    assert [buffers for _, _, *buffers in found] == [[5.0, True]] * 3, "buffers are those of process 0"
