"""Images a second of the whole training loop, beside a loop written by hand with the same model, data and loss.

    python benchmarks/step.py

Ours is ``build_runner(...)``: seeds for every sample and update, checks of the loss, hooks, a log. The loop by hand is
the shortest that trains. Both embed the same data set with the same network, NormSoftmax and AdamW, in this process, in
epochs that alternate: after each epoch of ours, an epoch by hand. Checkpoints and validation, which the other has none
of, are not timed. The ratio is the median of those of neighbouring epochs. On a CPU they are timed in seconds of this
process's processor time, which other work on the machine disturbs least, while a worker reads the images of each
(benchmarks/data.py measures that); ``--workers 0`` reads them in this process, where they count. On a GPU it is the
clock that counts.

``--chunk 64`` measures gradient caching instead: one step with a batch of ``--batch`` images, in chunks of 64, beside
the same step in one piece (time), and beside a step with a batch of 64 (memory). The gradients are compared first.

``--switches`` measures what ``train_cfg.precision``, ``channels_last`` and ``compile`` make of an epoch, each
combination beside the loop by hand in plain float32, and then trains GlyphNet on Glyphs with the fastest one and
without any, three seeds each, to compare Recall@1. bfloat16 is measured where the processor computes in it.

``--no-doctor`` leaves the run doctor out of ours; what it costs is the difference.

Exits with 1 where a ratio is below 0.97, a step in chunks takes more than 1.6 times one piece, Recall@1 is not equal,
or on a processor with bfloat16 the fastest combination of switches is less than 1.5 times as fast as the loop by hand.
"""

from __future__ import annotations

import argparse
import sys

import torch
from step_chunks import measure_chunks
from step_epochs import Run, measure
from step_switches import NETWORKS, compare_recall, measure_switches

from metricforge.functional.fast_bfloat16 import has_fast_bfloat16

REQUIRED = 0.97
MOST_TIMES_ONE_PIECE = 1.6
REQUIRED_OF_SWITCHES = 1.5

RUNS: dict[str, Run] = {
    "GlyphNet on Glyphs": (dict(type="GlyphNet"), dict(type="GlyphDataset", split="train"), 128, 6),
    "lite0 on 128 pixels": (
        dict(type="TimmBackbone", name="tf_efficientnet_lite0"),
        dict(type="NoiseDataset", count=24, size=128),
        8,
        3,
    ),
}


def judge_switches(arguments: argparse.Namespace, rounds: int) -> int:
    """Measure the switches, then Recall@1 with the fastest ones, and return the exit status."""
    device = arguments.device
    least, fastest = measure_switches(arguments.networks, device, rounds, arguments.workers, not arguments.no_compile)
    equal = compare_recall(fastest, device)
    if not has_fast_bfloat16(device):
        name = torch.cpu.get_capabilities().get("cpu_name", "this processor")
        print(f"\nnot required: {REQUIRED_OF_SWITCHES}, as {name} has no avx512_bf16 or amx_bf16; {least:.2f} here")
        return int(not equal)
    print(f"\nrequired: {REQUIRED_OF_SWITCHES}; {'met' if least >= REQUIRED_OF_SWITCHES else 'missed'}")
    return int(least < REQUIRED_OF_SWITCHES or not equal)


def main() -> int:
    """Measure, print, and return 1 where a ratio is below what is required."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="epochs of each that count (default: 7, of switches 3)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--chunk", type=int, help="measure gradient caching, with so many images in a chunk")
    parser.add_argument("--no-doctor", action="store_true", help="without the run doctor")
    parser.add_argument("--batch", type=int, default=4096, help="images of a step in chunks (default: 4096)")
    parser.add_argument("--switches", action="store_true", help="measure precision, channels_last and compile")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="of timm, whose switches are measured")
    parser.add_argument("--no-compile", action="store_true", help="leave out the combinations that compile")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds = arguments.rounds or (3 if arguments.switches else 7)
    if arguments.chunk is not None:
        ratio = measure_chunks(arguments.batch, arguments.chunk, arguments.device, rounds)
        print(f"\nrequired: {MOST_TIMES_ONE_PIECE}; {'met' if ratio <= MOST_TIMES_ONE_PIECE else 'missed'}")
        return int(ratio > MOST_TIMES_ONE_PIECE)
    if arguments.switches:
        return judge_switches(arguments, rounds)
    print(f"{'images/s':<22}{'by hand':>10}{'ours':>10}{'ratio':>9}")
    ratios = []
    for name, run in RUNS.items():
        doctor = not arguments.no_doctor
        by_hand, ours, ratio = measure(run, arguments.device, rounds, arguments.workers, doctor)
        print(f"{name:<22}{by_hand:>10,.1f}{ours:>10,.1f}{ratio:>9.3f}", flush=True)
        ratios.append(ratio)
    print(f"\nrequired: {REQUIRED}; {'met' if min(ratios) >= REQUIRED else 'missed'}")
    return int(min(ratios) < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
