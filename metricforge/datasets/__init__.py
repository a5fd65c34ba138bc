"""Labelled images, split into halves that share no class."""

from metricforge.datasets.cars196_dataset import Cars196Dataset
from metricforge.datasets.cub200_dataset import CUB200Dataset
from metricforge.datasets.glyph_dataset import GlyphDataset
from metricforge.datasets.image_dataset import ImageDataset
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.image_folder_dataset import ImageFolderDataset
from metricforge.datasets.in_shop_dataset import InShopDataset
from metricforge.datasets.shard_dataset import ShardDataset
from metricforge.datasets.stanford_online_products_dataset import StanfordOnlineProductsDataset
from metricforge.datasets.table_dataset import TableDataset

__all__ = [
    "CUB200Dataset",
    "Cars196Dataset",
    "GlyphDataset",
    "ImageDataset",
    "ImageFileDataset",
    "ImageFolderDataset",
    "InShopDataset",
    "ShardDataset",
    "StanfordOnlineProductsDataset",
    "TableDataset",
]
