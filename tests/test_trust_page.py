"""docs/trust.md says what was tried and how it ended: no more, no less, and never that a failure held."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from mer.errors import MerError
from tests import trust, trust_page

ROOT = Path(__file__).parents[1]


def outcome(promise: str, kind: str, ending: str, test: str, **more: Any) -> dict[str, Any]:
    counted = {"location": "", "tries": 1, "amount": 1} | more
    return {"promise": promise, "kind": kind, "outcome": ending, "test": test} | counted


def measured(**changes: Any) -> dict[str, Any]:
    signals, kills = "tests/faults/test_signals.py::test_it", trust_page.BY_HAND
    sheets, code = "tests/fuzz/test_data_sheets.py::test_a", "tests/fuzz/test_data_no_code.py::test_b"
    found = {
        "date": "2026-01-01",
        "commit": "abc",
        "examples": 40,
        "python": "3.11",
        "versions": {"torch": "2"},
        "ended": {"tests": 0, kills: 0},
        "tests": {"passed": 7, "failed": [], "skipped": {}},
        "outcomes": [
            outcome("faults", "kill -9 while training", "survived", kills, tries=50, amount=50),
            outcome("faults", "kill -9 of the parent alone", "survived", signals),
            outcome("faults", "kill -9 of a worker", "exit code 1", signals),
            outcome("faults", "a run that was killed, brought to its end", "equal", kills, amount=1000),
            outcome(
                "determinism", "tables rendered twice", "equal", "tests/test_determinism.py::t", amount=24
            ),
            outcome("leaks", "test subject replaced", "equal", "tests/test_leaks.py::t", amount=9),
            outcome("leaks", "clip under two names", "refused", "tests/test_leaks.py::t"),
            outcome("input", "annotation sheet", "refused", sheets, location="a.py:f:1", tries=1500),
            outcome("input", "annotation sheet", "refused", sheets, location="a.py:f:2"),
            outcome("input", "calls that could run code", "none", code, tries=243, amount=243),
            outcome("numbers", "uf1 of clips", "equal", "tests/test_frozen_scores.py::t", amount=6),
        ],
    }
    return found | changes


def test_the_figures_are_sums_of_what_was_told() -> None:
    text = trust_page.page(measured())
    assert "**All attempts ended as promised**: 7 tests passed, 0 failed, 0 were skipped" in text
    assert f"| kills survived | 52 of 52: 50 seeded ones by `{trust_page.BY_HAND}`" in text
    assert "| leaks caught | 1 ways, 1 attempts |" in text
    assert "| bytes compared, and equal | 1,024 in 2 comparisons |" in text, "tensors are no bytes"
    assert "| scores compared, and equal to 1e-12 | 6 |" in text
    assert "could run code from data | 243, none found |" in text
    assert "| inputs tried | 1,501 of 1 kinds, 2 distinct outcomes |" in text, "our own modules are no input"
    assert "| annotation sheets | 1,501 | 2 | refused 1,501 |" in text
    assert f"| kill -9 while training | 50 | survived 50 | 1 | `{trust_page.BY_HAND}` |" in text
    assert "exit code 1: 1" in text
    assert "Skipped, so not tried" not in text


def test_what_was_not_tried_is_not_said_to_hold() -> None:
    text = trust_page.page(measured())
    (row,) = [line for line in text.splitlines() if line.startswith("| **supply chain** ")]
    assert row.endswith("| 0 | 0 | not tried |")
    assert "Not tried in this run." in text
    skipped = {"tests/faults/test_disks.py::test_tabling": "may not mount here"}
    text = trust_page.page(measured(tests={"passed": 6, "failed": [], "skipped": skipped}))
    assert "Skipped, so not tried: `tests/faults/test_disks.py::test_tabling` (may not mount here)." in text


def test_a_failure_begins_the_page_and_stands_at_its_promise() -> None:
    broken = "tests/test_leaks.py::t"
    tests = {"passed": 6, "failed": [broken], "skipped": {}}
    text = trust_page.page(measured(tests=tests, ended={"tests": 1, trust_page.BY_HAND: 1}))
    assert "ended as promised" not in text
    assert f"**FAILED: {broken}, tests, {trust_page.BY_HAND}**" in text
    rows = {name: line for line in text.splitlines() for name in trust.PROMISES if f"| **{name}** |" in line}
    assert f"**FAILED**: {broken}" in rows["leaks"]
    assert f"**FAILED**: {trust_page.BY_HAND}" in rows["faults"]
    assert "| held: " in rows["numbers"]


def test_a_report_of_pytest_is_counted(tmp_path: Path) -> None:
    tmp_path.joinpath("test_four.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_left(): pytest.skip('no disk')\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_error(broken): pass\n"
    )
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml", "--rootdir=."]
    subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, check=False)
    assert trust_page.read_report(tmp_path / "report.xml") == {
        "passed": 1,
        "failed": ["test_four.py::test_bad", "test_four.py::test_error"],
        "skipped": {"test_four.py::test_left": "no disk"},
    }


def test_the_committed_page_is_that_of_its_counts() -> None:
    counts = json.loads(trust_page.COUNTS.read_text(encoding="utf-8"))
    assert trust_page.PAGE.read_text(encoding="utf-8") == trust_page.page(counts)
    assert not trust_page.failures(counts)
    assert "and changes" not in counts["commit"], "made from a commit that can be looked up"
    assert all(Path(ROOT, row["test"].partition("::")[0]).is_file() for row in counts["outcomes"])


def test_every_file_of_inputs_has_a_name() -> None:
    there = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/fuzz/test_*.py")}
    assert set(trust_page.INPUTS) - {"tests/test_reproduce.py"} == there


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MER_TRUST", str(tmp_path / "told.jsonl"))
    return tmp_path / "told.jsonl"


def lines(told: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["with (brackets) in it"])
def test_an_attempt_names_its_test(name: str, told: Path) -> None:
    def refuse() -> None:
        raise MerError("no")

    trust.attempt("input", name, refuse)
    (line,) = lines(told)
    assert line["outcome"] == "refused"
    assert line["test"].endswith(f"test_trust_page.py::test_an_attempt_names_its_test[{name}]")


def test_what_is_started_by_hand_names_its_module(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", find_spec("tests.faults.kills"))  # python -m
    trust.record("faults", "kill -9 while training", "survived")
    assert lines(told)[0]["test"] == trust_page.BY_HAND


@pytest.mark.parametrize("ending", ["broken", "exit code x", "ended with 1"])
def test_an_ending_that_the_page_does_not_explain_is_an_error(ending: str) -> None:
    with pytest.raises(AssertionError):
        trust.record("input", "x", ending)


def test_a_traceback_or_an_empty_message_is_no_refusal() -> None:
    def fail() -> None:
        raise ValueError("not foreseen")

    with pytest.raises(ValueError, match="not foreseen"):
        trust.attempt("input", "x", fail)

    def say_nothing() -> None:
        raise MerError("")

    with pytest.raises(AssertionError, match="an empty message"):
        trust.attempt("input", "x", say_nothing)
