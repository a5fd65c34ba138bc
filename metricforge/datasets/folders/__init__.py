"""Folders of images: what lies in them, and which folder is a split, a class or neither."""
