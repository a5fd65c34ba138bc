"""Writes the pooled features of a frozen network as vectors, for the recipes that train on them.

    python benchmarks/frozen_vectors.py --images FOLDER --weights tf_efficientnet_lite0.pth --out cars/vectors.npz
    python benchmarks/recipes.py --images cars --runs runs/vectors --recipes pddm_vectors --seeds 3

The network is timm's EfficientNet-Lite0, the images have 128 pixels a side: the vectors are those that
``normsoftmax_folder`` calls frozen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torchvision.transforms.v2 import Resize

from metricforge.backbones import TimmBackbone
from metricforge.datasets import ImageFolderDataset
from metricforge.engine.loading.data_loading import build_test_loader
from metricforge.engine.loops.embed_dataset import embed_dataset
from metricforge.heads import EmbeddingHead
from metricforge.models import MetricLearner
from metricforge.similarities import CosineSimilarity

SIDE = 128  # of an image, in pixels


def main() -> None:
    """Embed the images and write them with their class names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder with one sub-folder a class")
    parser.add_argument("--weights", type=Path, required=True, help="of timm's tf_efficientnet_lite0")
    parser.add_argument("--out", type=Path, required=True, help="the .npz file to write")
    arguments = parser.parse_args()
    backbone = TimmBackbone("tf_efficientnet_lite0", pretrained=True, weights=arguments.weights)
    head = EmbeddingHead(backbone.feature_dim, l2_normalize=False)
    images = ImageFolderDataset(str(arguments.images), split="all", transform=[Resize((SIDE, SIDE))])
    model = MetricLearner(backbone, head, CosineSimilarity()).to(memory_format=torch.channels_last)
    cpu = torch.device("cpu")
    embedded = embed_dataset(model, build_test_loader(images, batch_size=64, num_workers=0, device=cpu), cpu)
    assert embedded is not None
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(arguments.out, embeddings=embedded.embeddings, labels=np.array(images.class_names)[embedded.labels])
    print(f"{arguments.out}: {len(images):,} vectors of {backbone.feature_dim:,} numbers")


if __name__ == "__main__":
    main()
