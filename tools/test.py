"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``, as ``metricforge test`` does."""

from metricforge.cli.main import main

if __name__ == "__main__":
    main(command="test")
