"""``python -m metricforge``: the ``metricforge`` command of this very interpreter."""

from metricforge.cli.main import main

if __name__ == "__main__":
    main()
