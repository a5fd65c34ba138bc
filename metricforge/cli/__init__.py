"""The ``metricforge`` command; the scripts in tools/ call the same functions."""
