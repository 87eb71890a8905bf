"""Ship the role folders at the repository root as subpackages of `fdvs`."""

from setuptools import find_packages, setup

ROLES = ("models", "kernels", "datasets", "pipelines")
CORE_PARTS = ("answering", "metrics")
found = [p for role in ROLES for p in find_packages(include=[role, f"{role}.*"])]
setup(
    packages=["fdvs", *(f"fdvs.{package}" for package in (*CORE_PARTS, *found))],
    package_dir={f"fdvs.{role}": role for role in ROLES},
)
