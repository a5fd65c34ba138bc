"""What pyproject.toml cannot say: the wheel carries the top-level folder ``configs`` as ``metricforge.configs``."""

from setuptools import find_namespace_packages, find_packages, setup

setup(
    packages=[
        *find_packages(include=["metricforge", "metricforge.*"]),
        "metricforge.configs",
        *(f"metricforge.configs.{name}" for name in find_namespace_packages("configs", exclude=["*__pycache__*"])),
    ],
    package_dir={"metricforge.configs": "configs"},
)
