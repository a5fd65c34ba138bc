"""The version, which wheels, checkpoints and scores carry."""

__version__ = "0.1.0"
