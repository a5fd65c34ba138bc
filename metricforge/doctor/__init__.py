"""Looks through a collection of images for what would spoil training or flatter a score."""

from metricforge.doctor.collection import Collection, collection_of_folder, collection_of_splits, collection_of_table
from metricforge.doctor.contact_sheet import draw_contact_sheet
from metricforge.doctor.diagnose import Finding, diagnose
from metricforge.doctor.examine import Examination, examine
from metricforge.doctor.findings_table import print_findings, write_findings

__all__ = [
    "Collection",
    "Examination",
    "Finding",
    "collection_of_folder",
    "collection_of_splits",
    "collection_of_table",
    "diagnose",
    "draw_contact_sheet",
    "examine",
    "print_findings",
    "write_findings",
]
