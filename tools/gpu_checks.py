"""Try on a GPU what no test can try on a processor: ``python tools/gpu_checks.py --out gpu-checks.md``.

Each check is a row of a table: what was tried, whether it held, and what was measured. On a GPU all of them take under
ten minutes; ``--device cpu`` runs them small, to see that the checks themselves work. Several processes need several
GPUs, one each. A check that fails, or raises, does not stop the others; the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.distributed as dist
from PIL import Image
from rich.console import Console
from torch import Tensor
from torch.nn.functional import normalize

from metricforge import build_runner, evaluate_embeddings
from metricforge.backbones import TimmBackbone
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading.data_loading import build_test_loader
from metricforge.engine.records.checkpoints import load_checkpoint
from metricforge.run_records.checkpoint_files import checkpoint_files

ROOT = Path(__file__).resolve().parents[1]
CLOSE = 2e-3  # of the largest weight: one process against several, which sum in another order
MOST_TRAINED = 0.05  # share of a network's weights in an adapter
MERGED = 1e-5  # of an embedding of length 1
ONE_LEVEL = 2.0  # of 255: how far two decoders may be apart on average


class NotHereError(Exception):
    """A check that this machine cannot run, with the reason."""


@dataclass(frozen=True)
class Setting:
    """Where the checks run, and how large."""

    device: torch.device
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def sized(self, on_gpu: int, reduced: int) -> int:
        """``on_gpu``, or what a processor does in a second or two."""
        return on_gpu if self.on_gpu else reduced


def started_nccl(setting: Setting) -> str:
    """One process joins a group and sums a vector over it; several do so in the checks that train."""
    if setting.on_gpu and not dist.is_nccl_available():
        raise AssertionError("this torch has no NCCL")
    backend = "nccl" if setting.on_gpu else "gloo"
    dist.init_process_group(backend, init_method=f"file://{setting.folder / 'group'}", rank=0, world_size=1)
    try:
        ones = torch.ones(1 << 20, device=setting.device)
        dist.all_reduce(ones)
        assert ones.sum().item() == 1 << 20
    finally:
        dist.destroy_process_group()
    return f"{backend} sums over a group of one"


def trained_by_several(setting: Setting, name: str, model: dict[str, Any], **train_cfg: Any) -> str:
    """Train a few updates by one process and by several; compare the weights."""
    count = torch.cuda.device_count() if setting.on_gpu else 2
    if count < 2:
        raise NotHereError("needs two GPUs")
    config = dict(
        model=dict(head=dict(type="EmbeddingHead", dim=32), **model),
        train_dataloader=dict(
            dataset=dict(type="GlyphDataset", split="train"),
            sampler=dict(type="ClassBalancedBatchSampler", classes_per_batch=4 * count, samples_per_class=4)
            | dict(batches_per_epoch=4),
        ),
        test_dataloader=dict(dataset=dict(type="GlyphDataset", split="test")),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01)),
        train_cfg=dict(max_epochs=1, val_interval=0, **train_cfg),
    )
    file = setting.folder / f"{name}.py"
    file.write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    weights = []
    for processes in (1, count):
        run = setting.folder / f"{name}-{processes}"
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        train = ["-m", "metricforge", "train", str(file), "--work-dir", str(run), "--device", setting.device.type]
        completed(launch + train)
        weights.append(load_checkpoint(checkpoint_files(run)[0])["state_dict"])
    of_one, of_several = weights
    assert of_one.keys() == of_several.keys()
    apart = max(float((of_one[key].double() - of_several[key].double()).abs().max()) for key in of_one)
    largest = max(float(weight.double().abs().max()) for weight in of_one.values())
    told = f"{count} processes end {apart / largest:.1e} of the largest weight from one"
    assert apart <= CLOSE * largest, told
    return told


def several_processes(setting: Setting) -> str:
    """Gradients over all processes' embeddings."""
    pixels = dict(type="RawPixels", height=40, width=40)
    return trained_by_several(setting, "processes", dict(backbone=pixels, loss=dict(type="MultiSimilarityLoss")))


def sharded_proxies(setting: Setting) -> str:
    """Proxies shared out over the processes."""
    pixels = dict(type="RawPixels", height=40, width=40)
    return trained_by_several(setting, "proxies", dict(backbone=pixels, loss=dict(type="NormSoftmaxLoss", shard=True)))


def sync_batch_norm(setting: Setting) -> str:
    """BatchNorm by the statistics of the whole batch."""
    if not setting.on_gpu:
        raise NotHereError("torch has SyncBatchNorm on GPUs only")
    model = dict(backbone=dict(type="GlyphNet"), loss=dict(type="NormSoftmaxLoss"))
    return trained_by_several(setting, "batch_norm", model, sync_batch_norm=True)


def decoded_on_device(setting: Setting) -> str:
    """nvJPEG's pixels and speed beside the workers'."""
    count = setting.sized(512, 8)
    folder = setting.folder / "photos"
    for number in range(count):
        file = folder / f"class_{number % 2}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(file, quality=90)
    pixels, seconds = {}, {}
    for later in (False, True):
        dataset = ImageFolderDataset(folder, "all", transform=[dict(type="CenterCrop", size=224)])
        dataset.decodes_later = later
        for _ in range(2):  # the first starts the decoder
            loader = build_test_loader(dataset, batch_size=64, num_workers=setting.sized(8, 0), device=setting.device)
            started = time.perf_counter()
            pixels[later] = torch.cat([batch["image"].to(setting.device) for batch in loader])
            finished(setting.device)
            seconds[later] = time.perf_counter() - started
    apart = (pixels[True].float() - pixels[False].float()).abs().mean().item()
    speed = f"{count / seconds[True]:,.0f} images/s, {seconds[False] / seconds[True]:.1f} times the workers'"
    told = f"{apart:.2f} of 255 apart on average; {speed}"
    assert apart <= ONE_LEVEL, told
    return told


def searched_on_device(setting: Setting) -> str:
    """Scores of a test set of Stanford Online Products' size, on the device and on the processor."""
    classes, dim = setting.sized(11_316, 200), 512
    generator = np.random.default_rng(0)
    labels = np.sort(np.append(np.arange(classes).repeat(2), generator.integers(0, classes, round(3.35 * classes))))
    centres = generator.standard_normal((classes, dim), dtype=np.float32)
    embeddings = centres[labels] + 3 * generator.standard_normal((len(labels), dim), dtype=np.float32)
    scores, seconds = [], []
    for device in (setting.device, torch.device("cpu")):
        started = time.perf_counter()
        measured = evaluate_embeddings(embeddings, labels, scores=["recall@1", "map@r"], device=device)
        scores.append(measured.scores)
        seconds.append(time.perf_counter() - started)
    recall = f"{len(labels):,} x {dim}: Recall@1 {100 * scores[0]['recall@1']:.2f}"
    told = f"{recall} in {seconds[0]:.1f} s, {seconds[1]:.1f} s on the processor"
    assert all(abs(scores[0][name] - scores[1][name]) <= 1e-4 for name in scores[0]), f"{told}; {scores}"
    return told


def busy_device(setting: Setting) -> str:
    """Images a second of a ResNet-50 from JPEGs, and how much of the time the device waits for them."""
    if not (setting.folder / "photos").exists():
        raise NotHereError("needs the photographs of the check of the decoder")
    size, batch = setting.sized(224, 64), setting.sized(64, 4)
    config = dict(
        model=dict(
            backbone=dict(type="TimmBackbone", name="resnet50" if setting.on_gpu else "resnet10t"),
            head=dict(type="EmbeddingHead", dim=128),
            loss=dict(type="NormSoftmaxLoss"),
        ),
        train_dataloader=dict(
            dataset=dict(type="ImageFolderDataset", root=str(setting.folder / "photos"), split="all")
            | dict(transform=[dict(type="RandomResizedCrop", size=size), dict(type="RandomHorizontalFlip")]),
            sampler=dict(type="RandomBatchSampler", batch_size=batch),
            num_workers=setting.sized(8, 0),
        ),
        test_dataloader=dict(
            dataset=dict(type="ImageFolderDataset", root=str(setting.folder / "photos"), split="all")
            | dict(transform=[dict(type="CenterCrop", size=size)])
        ),
        evaluators=[dict(type="RecallAtK", ks=[1])],
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-4)),
        train_cfg=dict(max_epochs=setting.sized(6, 2), val_interval=0),
    )
    runner = build_runner(config, work_dir=setting.folder / "busy", device=setting.device, console=Console(quiet=True))
    model, working = runner.model, []
    original = model.train_step

    def timed(*arguments: Any, **options: Any) -> Any:
        finished(setting.device)
        started = time.perf_counter()
        result = original(*arguments, **options)
        finished(setting.device)
        working.append((started, time.perf_counter()))
        return result

    model.train_step = timed  # type: ignore[method-assign]
    runner.train()
    counted = working[len(working) // 2 :]  # the first ones warm up
    whole = counted[-1][1] - counted[0][0]
    idle = 1 - sum(end - start for start, end in counted) / whole
    return f"{batch * len(counted) / whole:,.0f} images/s; the device waits {idle:.0%} of the time"


def adapted_transformer(setting: Setting) -> str:
    """LoRA on a ViT-S: the share of weights that are trained, images a second in bfloat16, and what merging changes."""
    name, size = ("vit_small_patch16_224", 224) if setting.on_gpu else ("vit_tiny_patch16_224", 32)
    file = setting.folder / "vit.pth"
    torch.save(timm.create_model(name, num_classes=0).state_dict(), file)
    backbone = TimmBackbone(name, weights=str(file), img_size=size, adapter=dict(type="LoRA", rank=8))
    backbone = backbone.to(setting.device).train()
    trained = [parameter for parameter in backbone.parameters() if parameter.requires_grad]
    share = sum(map(Tensor.numel, trained)) / sum(map(Tensor.numel, backbone.parameters()))
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    images = torch.randn(setting.sized(64, 4), 3, size, size, device=setting.device)
    updates = setting.sized(20, 2)
    for update in range(2 * updates):
        if update == updates:  # those before warm up
            finished(setting.device)
            started = time.perf_counter()
        with torch.autocast(setting.device.type, torch.bfloat16):
            loss = backbone(images).float().std(dim=0).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    finished(setting.device)
    speed = updates * len(images) / (time.perf_counter() - started)
    assert loss.isfinite(), f"the loss became {loss.item()}"
    with torch.no_grad():
        before = normalize(backbone.eval()(images))
        backbone.merge_adapter()
        apart = (normalize(backbone(images)) - before).abs().max().item()
    told = f"{share:.1%} of the weights trained; {speed:,.0f} images/s in bfloat16; merged {apart:.1e} from unmerged"
    assert share <= MOST_TRAINED, told
    assert apart <= MERGED, told
    return told


def benchmarked(script: str, *on_gpu: str, reduced: tuple[str, ...] = ()) -> Callable[[Setting], str]:
    """Make a check of a benchmark, which exits with 1 where it misses its target; on GPUs only without ``reduced``."""

    def check(setting: Setting) -> str:
        if not setting.on_gpu and not reduced:
            raise NotHereError(f"takes minutes on a processor: python benchmarks/{script} {' '.join(on_gpu)}")
        options = on_gpu if setting.on_gpu else reduced
        printed = completed([str(ROOT / "benchmarks" / script), *options, "--device", str(setting.device)])
        return "; ".join(" ".join(line.split()) for line in printed.splitlines() if line.strip())

    return check


CHECKS: dict[str, Callable[[Setting], str]] = {
    "NCCL": started_nccl,
    "several processes": several_processes,
    "SyncBatchNorm": sync_batch_norm,
    "sharded proxies": sharded_proxies,
    "nvJPEG": decoded_on_device,
    "images a second": busy_device,
    "search": searched_on_device,
    "LoRA": adapted_transformer,
    "precision and compile": benchmarked(
        "step.py", "--switches", "--rounds", "3", "--networks", "resnet18", "vit_small_patch16_224"
    ),
    "gradient caching": benchmarked(
        "step.py", "--chunk", "64", "--batch", "4096", reduced=("--chunk", "64", "--batch", "256", "--rounds", "1")
    ),
}


def completed(arguments: Iterable[str]) -> str:
    """Run Python with ``arguments`` and return what it printed; its last lines are the error if it fails."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise AssertionError((done.stdout + done.stderr)[-500:])
    return done.stdout


def finished(device: torch.device) -> None:
    """Wait until ``device`` has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def row(name: str, check: Callable[[Setting], str], setting: Setting) -> tuple[bool, str]:
    """Run one check; return whether nothing failed, and its row of the table."""
    started = time.perf_counter()
    try:
        verdict, told = "held", check(setting)
    except NotHereError as reason:
        verdict, told = "not here", str(reason)
    except Exception as fault:  # a row of its own, whatever it is: the others go on
        verdict, told = "**failed**", f"{type(fault).__name__}: {fault}"
    told = " ".join(told.split()).replace("|", "\\|")
    return verdict != "**failed**", f"| {name} | {verdict} | {told} | {time.perf_counter() - started:.0f} s |"


def main() -> int:
    """Run the checks, print and write the table, and return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"), help="cuda (default) or cpu")
    parser.add_argument("--only", nargs="+", choices=CHECKS, metavar="CHECK", help=", ".join(CHECKS))
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table to FILE as well")
    arguments = parser.parse_args()
    if arguments.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here; --device cpu runs the checks small")
    machine = torch.cuda.get_device_name(arguments.device) if arguments.device.type == "cuda" else "a processor, small"
    lines = [f"torch {torch.__version__} on {machine}.", "", "| check | | measured | time |", "|-|-|-|-|"]
    print("\n".join(lines), flush=True)
    all_held = True
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(arguments.device, Path(folder))
        for name in arguments.only or CHECKS:
            held, line = row(name, CHECKS[name], setting)
            print(line, flush=True)
            lines.append(line)
            all_held = all_held and held
    if arguments.out is not None:
        arguments.out.write_text("\n".join(lines) + "\n")
    return int(not all_held)


if __name__ == "__main__":
    sys.exit(main())
