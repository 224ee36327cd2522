"""What is installed stands alone: it imports nothing of the workshop in scripts/, and brings nothing of its needs."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "vsgshift").rglob("*.py"))


def imported(source: str) -> set[str]:
    """The modules' top-level names in the imports of a source, wherever in it they are."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def packages(requirements: list[str]) -> set[str]:
    """Names of the packages that a list of requirements asks for; of our own extras, `vsgshift[compare,docs]`."""
    return {name[0] for requirement in requirements if (name := re.match(r"[\w.-]+(\[[\w,-]+\])?", requirement))}


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def test_the_product_imports_nothing_of_the_workshop() -> None:
    workshop = {path.stem for path in (ROOT / "scripts").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {"training", "evaluation", "measuring", "train"} <= workshop
    assert len(SOURCES) > 50
    offences = {str(file.relative_to(ROOT)): imported(file.read_text()) & workshop for file in SOURCES}
    assert not {file: names for file, names in offences.items() if names}


def test_the_extra_dev_holds_all_that_the_workshop_needs() -> None:
    """So that the README's command sets up everything with a pip that knows no dependency groups."""
    known = project()
    extras: dict[str, list[str]] = known["project"]["optional-dependencies"]
    dev = packages(extras["dev"])
    (own,) = (name for name in dev if name.startswith("vsgshift["))
    for extra in own.removeprefix("vsgshift[").removesuffix("]").split(","):
        dev |= packages(extras[extra])
    assert packages(known["dependency-groups"]["workshop"]) <= dev


def test_installing_brings_nothing_of_the_workshop() -> None:
    assert packages(project()["project"]["dependencies"]) == {"torch", "vapoursynth", "numpy", "safetensors"}


def test_other_programs_are_started_in_one_place() -> None:
    """Which keeps them from running modules of the current folder."""
    starting = [file.name for file in SOURCES if imported(file.read_text()) & {"subprocess", "multiprocessing"}]
    assert starting == ["processes.py"]
