"""The benchmarks: their archives, where they are published, and the reader of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from metricforge.datasets import ImageFileDataset
from metricforge.registry import DATASETS


@dataclass(frozen=True)
class Archive:
    """A file that a benchmark is published in: its name, its mirrors in order, and the MD5 of the official copy."""

    name: str
    urls: tuple[str, ...]
    md5: str | None


@dataclass(frozen=True)
class Benchmark:
    """A published data set.

    Args:
        name: in commands.
        title: its official name.
        images: their number.
        gigabytes: the approximate size of its archives.
        archives: all files that it is published in.
        top: the folder inside the unpacked archives that is the reader's root; "" for all of it.
        folder: its name below the data folder.
        dataset: the reader's type.
        config: a config that trains on it.
        home: the page of its authors, with the terms of use.
    """

    name: str
    title: str
    images: int
    gigabytes: float
    archives: tuple[Archive, ...]
    top: str
    folder: str
    dataset: str
    config: str
    home: str

    def splits(self, root: Path, check_counts: bool = True) -> list[ImageFileDataset]:
        """The train and the test split that ``root`` holds.

        Raises:
            DatasetError: if it is incomplete.
        """
        cfg = dict(type=self.dataset, root=str(root), check_counts=check_counts)
        return [DATASETS.build(cfg | {"split": split}) for split in ("train", "test")]


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="cub200",
            title="CUB-200-2011",
            images=11788,
            gigabytes=1.2,
            archives=(
                Archive(
                    "CUB_200_2011.tgz",
                    (
                        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
                        "http://www.vision.caltech.edu/visipedia-data/CUB-200-2011/CUB_200_2011.tgz",
                    ),
                    "97eceeb196236b17998738112f37df78",
                ),
            ),
            top="CUB_200_2011",
            folder="CUB_200_2011",
            dataset="CUB200Dataset",
            config="configs/normsoftmax_cub.py",
            home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
        ),
        Benchmark(
            name="cars196",
            title="Cars196",
            images=16185,
            gigabytes=2.0,
            archives=(
                Archive(
                    "car_ims.tgz",
                    (
                        "http://ai.stanford.edu/~jkrause/car196/car_ims.tgz",
                        "http://imagenet.stanford.edu/internal/car196/car_ims.tgz",
                    ),
                    "d5c8f0aa497503f355e17dc7886c3f14",
                ),
                Archive(
                    "cars_annos.mat",
                    (
                        "http://ai.stanford.edu/~jkrause/car196/cars_annos.mat",
                        "http://imagenet.stanford.edu/internal/car196/cars_annos.mat",
                    ),
                    "b407c6086d669747186bd1d764ff9dbc",
                ),
            ),
            top="",
            folder="cars196",
            dataset="Cars196Dataset",
            config="configs/normsoftmax_cars.py",
            home="https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
        ),
        Benchmark(
            name="sop",
            title="Stanford Online Products",
            images=120053,
            gigabytes=3.1,
            archives=(
                Archive(
                    "Stanford_Online_Products.zip",
                    ("http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",),
                    "7f73d41a2f44250d4779881525aea32e",
                ),
            ),
            top="Stanford_Online_Products",
            folder="Stanford_Online_Products",
            dataset="StanfordOnlineProductsDataset",
            config="configs/normsoftmax_sop.py",
            home="https://cvgl.stanford.edu/projects/lifted_struct/",
        ),
        Benchmark(
            name="inshop",
            title="In-Shop",
            images=52712,
            gigabytes=1.3,
            # Its authors send it to those who accept their terms.
            archives=(Archive("img.zip", (), None), Archive("list_eval_partition.txt", (), None)),
            top="",
            folder="inshop",
            dataset="InShopDataset",
            config="configs/normsoftmax_inshop.py",
            home="https://mmlab.ie.cuhk.edu.hk/projects/DeepFashion/InShopRetrieval.html",
        ),
    )
}
