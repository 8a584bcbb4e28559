"""The dependencies: every pin has a reason, the tested set is whole, and no test reaches the network."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests import trust

ROOT = Path(__file__).parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
OPEN = "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)"


def declared() -> list[Requirement]:
    project = tomllib.loads(PROJECT)["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for each in lists for line in each]


def test_every_dependency_has_a_floor_and_stands_in_the_tested_set() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()[1:]
    tested = {normal(name): version for name, version in (line.split("==") for line in lines)}
    for requirement in declared():
        assert any(part.operator in (">=", "==") for part in requirement.specifier), requirement
        assert requirement.specifier.contains(tested[normal(requirement.name)]), requirement
    trust.record("supply chain", "dependencies and their ranges", "equal", amount=len(declared()))


def test_every_cap_says_why() -> None:
    capped = [line for line in PROJECT.splitlines() if re.match(r'\s+"[\w-]+[^"]*(<|==)[^"]*"', line)]
    assert len(capped) == sum(
        any(part.operator in ("<", "==") for part in each.specifier) for each in declared()
    )
    assert [line for line in capped if not re.search(r'",\s+# \w', line)] == []


@pytest.mark.parametrize("code", [OPEN, OPEN.replace("127.0.0.1", "::1")], ids=["IPv4", "IPv6"])
def test_a_child_process_has_no_network_either(code: str, network: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "no network in tests" in done.stderr
    assert done.returncode
    assert network.read_text(encoding="utf-8")
    network.unlink()
    trust.record("supply chain", "network socket in a child process", "refused")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
