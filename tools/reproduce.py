"""Run a paper's table and print its figures beside ours: ``python tools/reproduce.py normsoftmax-table7``."""

from metricforge.cli.reproduce import main

if __name__ == "__main__":
    main()
