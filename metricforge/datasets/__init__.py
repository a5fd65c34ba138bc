"""Labelled images, split into halves that share no class."""

from metricforge.datasets.cub200_dataset import CUB200Dataset
from metricforge.datasets.glyph_dataset import GlyphDataset
from metricforge.datasets.image_dataset import ImageDataset
from metricforge.datasets.image_file_dataset import ImageFileDataset
from metricforge.datasets.image_folder_dataset import ImageFolderDataset

__all__ = ["CUB200Dataset", "GlyphDataset", "ImageDataset", "ImageFileDataset", "ImageFolderDataset"]
