"""Train an embedding: ``python tools/train.py configs/normsoftmax_glyphs.py``."""

from metricforge.cli.train import main

if __name__ == "__main__":
    main()
