"""What recipes reach, over seeds: trains them, and prints a table such as that of docs/cars196_half.md.

    python benchmarks/recipes.py --images FOLDER --weights tf_efficientnet_lite0.pth --runs runs/cars196_half
    python benchmarks/recipes.py --runs runs/glyphs --recipes pddm_glyphs --seeds 3

FOLDER has one sub-folder a class. Without ``--recipes`` five folder recipes are trained with three seeds, others with
one. Each is trained as ``metricforge train RECIPE`` does with that seed: some training classes choose, the test classes
are scored once, by the readout where the recipe has one; the trained head of the best epoch is scored beside it. In
the folder recipes convolutions have channels innermost, which is faster and rounds otherwise.

What has been trained is kept in the folder of the runs: a second call goes on where the first one was stopped, and
``--print`` shows the table of what is there. Each training has one thread; ``--jobs`` run at once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from metricforge import build_runner
from metricforge.atomic_write import write_atomically
from metricforge.evaluation import read_scores

REPEATED = ["normsoftmax_folder", "lifted_folder", "pddm_folder", "proxyanchor_folder", "multisimilarity_folder"]
ONCE = ["contrastive_folder", "triplet_folder", "pddm_hard_folder"]
READ = ("_folder", "_vectors")  # recipes that read a folder of one's own
SEEDS = 3
RESULT = "result.json"
RANKS = ["recall@1", "recall@2", "recall@4", "recall@8", "map@r"]
COLUMNS = [*RANKS, "nmi", "binary/recall@1"]
HEADINGS = ["Recall@1", "@2", "@4", "@8", "MAP@R", "NMI", "signs: Recall@1"]
Results = Mapping[str, Mapping[int, Mapping[str, Any]]]


def planned(recipes: Sequence[str] | None, seeds: int | None) -> list[tuple[str, int]]:
    """Recipes and seeds in the order in which they are trained: every recipe once, then the further seeds."""
    wanted = recipes or [*REPEATED, *ONCE]
    counts = {recipe: seeds or (1 if recipe in ONCE else SEEDS) for recipe in wanted}
    return [(recipe, seed) for seed in range(max(counts.values())) for recipe in wanted if seed < counts[recipe]]


def overrides_of(recipe: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What is set beside the recipe: where images and weights are, and how it is computed."""
    overrides: dict[str, Any] = {"train_dataloader.num_workers": 0, "test_dataloader.num_workers": 0}
    if recipe.endswith(READ):
        overrides["data_root"] = str(arguments.images)
    if recipe.endswith("_folder"):
        overrides |= {"model.backbone.weights": str(arguments.weights), "train_cfg.channels_last": True}
    return overrides


def train(recipe: str, seed: int, arguments: argparse.Namespace) -> None:
    """Train ``recipe``, score its readout and its head on the test classes, and write both as ``RESULT``."""
    torch.set_num_threads(1)
    overrides = overrides_of(recipe, arguments)
    folder = arguments.runs / f"{recipe}_{seed}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner = build_runner(recipe, overrides=overrides, work_dir=folder, seed=seed, resume="auto", device="cpu")
        runner.train()
    scores, protocol = read_scores(folder / "scores.json")
    result = {
        "final": scores,
        "choice": protocol["choice"],
        "baselines": runner.baseline_scores,
        "collapsed": any(each.category.__name__ == "CollapsedScoresWarning" for each in caught),
    }
    if (folder / "chosen.pth").exists():
        best = build_runner(recipe, overrides=overrides, checkpoint=folder / "best.pth", seed=seed, device="cpu")
        result["head"] = best.test()
    write_atomically(folder / RESULT, json.dumps(result, indent=1) + "\n")


def train_all(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Train in processes of their own what has no result yet; return what failed."""
    lacking = [
        (recipe, seed)
        for recipe, seed in planned(arguments.recipes, arguments.seeds)
        if not (arguments.runs / f"{recipe}_{seed}" / RESULT).exists()
    ]
    arguments.runs.mkdir(parents=True, exist_ok=True)
    shared = ["--runs", str(arguments.runs)]
    for name in ("images", "weights"):
        shared += [f"--{name}", str(getattr(arguments, name))] if getattr(arguments, name) else []

    def run(one: tuple[str, int]) -> int:
        recipe, seed = one
        command = [sys.executable, __file__, *shared, "--one", recipe, str(seed)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        with (arguments.runs / f"{recipe}_{seed}.log").open("a") as log:
            return subprocess.run(command, stdout=log, stderr=log, env=environment, check=False).returncode

    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = list(pool.map(run, lacking))
    return [one for one, code in zip(lacking, codes, strict=True) if code]


def read_results(runs: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """The results in ``runs``, by recipe and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in runs.glob(f"*/{RESULT}"):
        recipe, _, seed = path.parent.name.rpartition("_")
        found[recipe][int(seed)] = json.loads(path.read_text())
    order = [recipe for recipe in [*REPEATED, *ONCE] if recipe in found]
    return {recipe: dict(sorted(found[recipe].items())) for recipe in [*order, *sorted(found.keys() - set(order))]}


def rows_of(results: Results) -> Iterable[list[str]]:
    """The table's rows, in per cent: mean and standard deviation where there are several seeds."""
    baselines: dict[str, dict[int, Mapping[str, float]]] = defaultdict(dict)
    for runs in results.values():
        for seed, run in runs.items():
            for name, scores in run["baselines"].items():
                baselines[name].setdefault(seed, scores)  # a baseline is that of every recipe
    for name, by_seed in baselines.items():
        listed = list(by_seed.values())
        told = [[_cell([scores], column) for column in COLUMNS] for scores in listed]
        different = listed if any(each != told[0] for each in told) else listed[:1]  # seeds do not change it
        yield [name, str(len(different)), *(_cell(different, column) for column in COLUMNS)]
    for recipe, runs in results.items():
        for part in ("head", "final"):
            scores = [run[part] for run in runs.values() if part in run]
            if not scores:
                continue
            learned = "euclidean/recall@1" in scores[0]
            layer = "" if not any("head" in run for run in runs.values()) else f", {part.replace('final', 'readout')}"
            for prefix, how in (("euclidean/", ", by distance"), ("", ", by score")) if learned else (("", ""),):
                cells = [_cell(scores, prefix + column if column in RANKS else column) for column in COLUMNS]
                yield [f"`{recipe}.py`{layer}{how}", str(len(scores)), *cells]


def _cell(scores: Sequence[Mapping[str, float]], name: str) -> str:
    values = [100 * each[name] for each in scores if name in each]
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def show(runs: Path) -> None:
    """Print the table of what ``runs`` has, in Markdown, and each run's Recall@1 with what its readout chose."""
    results = read_results(runs)
    print("\n".join(["| " + " | ".join(["", "seeds", *HEADINGS]) + " |", "|-" * (2 + len(HEADINGS)) + "|"]))
    for row in rows_of(results):
        print("| " + " | ".join(row) + " |")
    print()
    for recipe, of_recipe in results.items():
        for seed, run in of_recipe.items():
            parts = {part: run[part] for part in ("head", "final") if part in run}
            names = [name for name in ("euclidean/recall@1", "recall@1") if name in run["final"]]
            told = [f"{part} {name} {100 * each[name]:.1f}" for part, each in parts.items() for name in names]
            told += [str(run["choice"][key]) for key in ("weights", "layer") if key in run["choice"]]
            told += ["its scores collapsed in training"] if run["collapsed"] else []
            print(f"{recipe}, seed {seed}: {', '.join(told)}")


def main() -> None:
    """Train what is lacking and print the table; exits with 1 where a training failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=Path, help="a folder with one sub-folder a class; of vectors, with vectors.npz"
    )
    parser.add_argument("--weights", type=Path, help="of timm's tf_efficientnet_lite0, for images")
    parser.add_argument("--runs", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--recipes", nargs="+", help="(default: those of docs/cars196_half.md)", metavar="RECIPE")
    parser.add_argument("--seeds", type=int, help=f"of each (default: {SEEDS}, of {', '.join(ONCE)} 1)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default: %(default)s)")
    parser.add_argument("--print", action="store_true", help="train nothing, print what is there")
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "SEED"), help="train this one alone")
    arguments = parser.parse_args()
    if not (arguments.print or arguments.one):
        recipes = [recipe for recipe, _ in planned(arguments.recipes, arguments.seeds)]
        if arguments.images is None and any(recipe.endswith(READ) for recipe in recipes):
            parser.error("--images is needed: the folder that these recipes read")
        if arguments.weights is None and any(recipe.endswith("_folder") for recipe in recipes):
            parser.error("--weights is needed: where folder recipes begin")
    if arguments.one:
        train(arguments.one[0], int(arguments.one[1]), arguments)
        return
    failed = [] if arguments.print else train_all(arguments)
    show(arguments.runs)
    for recipe, seed in failed:
        print(f"{recipe}, seed {seed} failed: see {arguments.runs / f'{recipe}_{seed}.log'}", file=sys.stderr)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
