"""Whether the regions that a report's heat maps name carry the similarity of photographs.

    python benchmarks/heat_maps.py PHOTOS --weights FILE

PHOTOS has a folder a class, as ``ImageFolderDataset`` reads it; FILE holds weights of EfficientNet-Lite0, whose pooled
features are compared by their cosine. (``--weights hub`` takes timm's.) Of ``--pairs`` pairs of two images of a class,
drawn at random, the first image is explained: its brightest quarter is blanked, and the same shape at 16 other places
of the image. Printed are the similarity as it is and after either, and in how many pairs the named quarter counts more.

Exits with 1 if that is not so in four of five pairs.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch

from metricforge import DATASETS
from metricforge.models import MetricLearner
from metricforge.run_report.heat_maps import explain

REQUIRED = 0.8


def main() -> None:
    """Explain the pairs, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", metavar="PHOTOS")
    parser.add_argument("--weights", required=True, metavar="FILE")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--side", type=int, default=128, help="pixels of an image (default: %(default)s)")
    arguments = parser.parse_args()
    backbone = dict(type="TimmBackbone", name="tf_efficientnet_lite0", pretrained=True)
    if arguments.weights != "hub":
        backbone["weights"] = arguments.weights
    learner = MetricLearner.from_config(dict(backbone=backbone, similarity=dict(type="CosineSimilarity")), None).eval()
    resize = dict(type="Resize", size=(arguments.side, arguments.side))
    images = DATASETS.build(dict(type="ImageFolderDataset", root=arguments.photos, split="test", transform=[resize]))
    draws = np.random.default_rng(0)
    rows = []
    for seed in range(arguments.pairs):
        first = int(draws.integers(len(images)))
        others = np.flatnonzero((images.labels == images.labels[first]) & (np.arange(len(images)) != first))
        pair = [images[index]["image"] for index in (first, int(draws.choice(others)))]
        found = explain(learner, *pair, torch.device("cpu"), seed)
        rows.append((found.similarity, found.without_named, found.without_others))
    similarity, named, elsewhere = np.array(rows).T
    share = float((named < elsewhere).mean())
    print(f"{arguments.pairs} pairs of {images.describe()}")
    print(f"similarity {similarity.mean():.3f}")
    print(f"without the brightest quarter {named.mean():.3f}, the same shape elsewhere {elsewhere.mean():.3f}")
    print(f"the brightest quarter lowers it more in {100 * share:.0f} % of the pairs")
    sys.exit(share < REQUIRED)


if __name__ == "__main__":
    main()
