"""Feeds checkpoints and files of weights, mutated by coverage, to what reads them; ``make fuzz`` runs it.

Whatever the bytes are, reading them ends in a ``CheckpointError`` or in tensors: no other error, nothing executed,
memory bounded (libFuzzer's ``-rss_limit_mb``). Each input is read three times: as a checkpoint whose checksum is right,
as a .pth and as a .safetensors file. The arguments are libFuzzer's: ``-runs=100000`` inputs, ``-max_total_time=3600``
seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import resource
import struct
import sys
import tempfile
from pathlib import Path

import atheris
import safetensors.torch
import timm.models  # noqa: F401  (imported before what is instrumented, which would otherwise be all of it)
import torch
from torch import nn
from torch._weights_only_unpickler import Unpickler

with atheris.instrument_imports(include=["metricforge.engine.records", "metricforge.backbones", "metricforge.errors"]):
    from metricforge.backbones.weights_file import load_weights_file
    from metricforge.engine.records.checkpoints import FORMAT, check_state_of_run, load_checkpoint
    from metricforge.errors import CheckpointError

Unpickler.load = atheris.instrument_func(Unpickler.load)
for name in ("_load", "_legacy_load", "_is_zipfile"):
    setattr(torch.serialization, name, atheris.instrument_func(getattr(torch.serialization, name)))

TITLE = b"metricforge sha256 "
RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect", "os.remove")
FOLDER = Path(tempfile.mkdtemp(prefix="metricforge-fuzz-"))
executed: list[str] = []
watched = False


def watch(event: str, arguments: object) -> None:
    if watched and event in RUNS_CODE:
        executed.append(f"{event}{arguments}")


def sealed(archive: bytes) -> bytes:
    """``archive`` with the checksum that a checkpoint ends in."""
    content = archive[:-2] + struct.pack("<H", len(TITLE) + 64) + TITLE
    return content + hashlib.sha256(content).hexdigest().encode()


def read_all(content: bytes) -> None:
    global watched
    checkpoint, weights, tensors = FOLDER / "iter_1.pth", FOLDER / "weights.pth", FOLDER / "weights.safetensors"
    checkpoint.write_bytes(sealed(content))
    weights.write_bytes(content)
    tensors.write_bytes(content)
    watched = True
    with contextlib.suppress(CheckpointError):
        check_state_of_run(load_checkpoint(checkpoint), checkpoint)
    for file in (weights, tensors):
        with contextlib.suppress(CheckpointError):
            load_weights_file(nn.Linear(3, 2), file, [])
    watched = False
    assert not executed, executed


def seeds() -> list[bytes]:
    """A whole checkpoint, weights of today's and of torch's first format, and a safetensors file."""
    layer = nn.Linear(3, 2)
    meta = dict.fromkeys(("iteration", "epoch", "batches_per_epoch", "seed", "num_classes"), 1)
    run = {
        "meta": {**meta, "format": FORMAT, "baselines": {}, "settings": {"model.loss.type": "TripletLoss"}},
        "state_dict": dict(layer.state_dict()),
        "optimizer": {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]},
        "param_schedulers": [],
    }
    written = []
    for content, options in ((run, {}), (layer.state_dict(), {}), (layer.state_dict(), {"old": True})):
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=not options)
        written.append(file.getvalue())
    return [*written, safetensors.torch.save(dict(layer.state_dict()))]


def main() -> None:
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    for number, content in enumerate(seeds()):
        read_all(content)
        (corpus / str(number)).write_bytes(content)
    sys.addaudithook(watch)
    options = ["-rss_limit_mb=4096", "-malloc_limit_mb=2048", "-timeout=120", f"-artifact_prefix={FOLDER}/found-"]
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], str(corpus)], read_all)
    try:
        atheris.Fuzz()
    finally:
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
