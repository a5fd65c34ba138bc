"""Labelled images, or vectors, split into halves that share no class.

Each data set is imported on first use: what is beside them, such as decoding, is used where PyTorch is not installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metricforge.datasets.benchmarks.cars196_dataset import Cars196Dataset
    from metricforge.datasets.benchmarks.cub200_dataset import CUB200Dataset
    from metricforge.datasets.benchmarks.in_shop_dataset import InShopDataset
    from metricforge.datasets.benchmarks.stanford_online_products_dataset import StanfordOnlineProductsDataset
    from metricforge.datasets.glyphs.glyph_dataset import GlyphDataset
    from metricforge.datasets.image_dataset import ImageDataset
    from metricforge.datasets.image_file_dataset import ImageFileDataset
    from metricforge.datasets.image_folder_dataset import ImageFolderDataset
    from metricforge.datasets.shards.shard_dataset import ShardDataset
    from metricforge.datasets.tables.table_dataset import TableDataset
    from metricforge.datasets.vector_dataset import VectorDataset
    from metricforge.structures import Role

__all__ = [
    "CUB200Dataset",
    "Cars196Dataset",
    "GlyphDataset",
    "ImageDataset",
    "ImageFileDataset",
    "ImageFolderDataset",
    "InShopDataset",
    "Role",
    "ShardDataset",
    "StanfordOnlineProductsDataset",
    "TableDataset",
    "VectorDataset",
]

_MODULE_OF = {
    "CUB200Dataset": "metricforge.datasets.benchmarks.cub200_dataset",
    "Cars196Dataset": "metricforge.datasets.benchmarks.cars196_dataset",
    "GlyphDataset": "metricforge.datasets.glyphs.glyph_dataset",
    "ImageDataset": "metricforge.datasets.image_dataset",
    "ImageFileDataset": "metricforge.datasets.image_file_dataset",
    "ImageFolderDataset": "metricforge.datasets.image_folder_dataset",
    "InShopDataset": "metricforge.datasets.benchmarks.in_shop_dataset",
    "Role": "metricforge.structures",
    "ShardDataset": "metricforge.datasets.shards.shard_dataset",
    "StanfordOnlineProductsDataset": "metricforge.datasets.benchmarks.stanford_online_products_dataset",
    "TableDataset": "metricforge.datasets.tables.table_dataset",
    "VectorDataset": "metricforge.datasets.vector_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next access finds it without this function
    return value
