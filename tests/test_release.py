# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is said of a release in several places is the same in all of them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# What conda-forge calls otherwise.
OF_CONDA = {"matplotlib": "matplotlib-base"}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project() -> Any:
    return tomllib.loads(text_of("pyproject.toml"))


def test_there_is_one_version(project: Any) -> None:
    version = project["project"]["version"]
    assert re.findall(r"(?m)^version: (.*)$", text_of("CITATION.cff")) == [version]
    assert re.findall(r'(?m)^  version: "(.*)"$', text_of("recipe/recipe.yaml")) == [version]


def required(recipe: str, section: str) -> set[str]:
    """Return what stands in one section of the requirements of the recipe."""
    found = re.search(rf"(?ms)^  {section}:\n(.*?)^(?:  )?[a-z#]", recipe)
    assert found is not None
    return set(re.findall(r"(?m)^    - ([^$\n]+)$", found[1]))


def in_conda(requirements: list[str]) -> set[str]:
    parts = [re.fullmatch(r"([\w-]+)(>=[\w.]+)", each) for each in requirements]
    return {f"{OF_CONDA.get(part[1], part[1])} {part[2]}" for part in parts if part is not None}


def test_the_recipe_requires_what_the_package_does(project: Any) -> None:
    recipe, of_package = text_of("recipe/recipe.yaml"), project["project"]
    dependencies, study = of_package["dependencies"], of_package["optional-dependencies"]["study"]
    assert len(in_conda(dependencies)) == len(dependencies) > 3
    assert required(recipe, "run") == in_conda(dependencies) | {"python"}
    assert required(recipe, "run_constraints") == in_conda(study)
    build = project["build-system"]["requires"]
    assert required(recipe, "host") == in_conda(build) | {"python", "pip"}


def test_wheels_and_packages_of_the_same_pythons(project: Any) -> None:
    wheels = project["tool"]["cibuildwheel"]["build"]
    packages = re.findall(r"(?m)^  - 3\.(\d+)\.\* ", text_of("recipe/variants.yaml"))
    assert wheels == [f"cp3{minor}-*" for minor in packages]
    assert project["project"]["requires-python"] == f">=3.{packages[0]}"
