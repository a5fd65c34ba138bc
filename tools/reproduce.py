"""Run a paper's table: ``python tools/reproduce.py normsoftmax-table7``, as ``metricforge reproduce`` does."""

from metricforge.cli.main import main

if __name__ == "__main__":
    main(command="reproduce")
