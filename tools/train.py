"""Train an embedding: ``python tools/train.py CONFIG``, as ``metricforge train CONFIG`` does."""

from metricforge.cli.main import main

if __name__ == "__main__":
    main(command="train")
