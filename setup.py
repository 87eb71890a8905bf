"""Ship the role folders at the repository root as subpackages of `fdvs`."""

from setuptools import find_packages, setup

ROLES = ("models", "kernels", "datasets", "pipelines")
role_packages = {
    f"fdvs.{name}" for role in ROLES for name in find_packages(include=[role, f"{role}.*"])
}
core_packages = set(find_packages(include=["fdvs", "fdvs.*"]))  # follows the links of an editor
setup(
    packages=sorted(role_packages | core_packages),
    package_dir={f"fdvs.{role}": role for role in ROLES},
)
