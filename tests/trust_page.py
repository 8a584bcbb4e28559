"""``make trust``: runs every attempt to break a promise, by the thousand, and writes docs/trust.md from them.

The tests tell what they tried through `tests.trust`; docs/trust.json keeps the counts, so that the page can
be written again without running them (``--stored``).
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from mer.atomic import write_text
from mer.config import provenance
from tests.trust import OUTCOMES, PROMISES

ROOT = Path(__file__).parents[1]
PAGE, COUNTS = ROOT / "docs/trust.md", ROOT / "docs/trust.json"
# Where the attempts are; a test elsewhere may record too, but nobody has to run it for this page.
TESTS = (
    "tests/fuzz",
    "tests/faults",
    "tests/test_leaks.py",
    "tests/test_reproduce.py",
    "tests/test_determinism.py",
    "tests/test_frozen_scores.py",
    "tests/test_supply_chain.py",
)
KILLS = 50
BY_HAND = "tests/faults/kills.py"
EXAMPLES = "100"  # a property; MER_FUZZ=3000 make trust takes a day
COLUMNS = ("promise", "kind", "outcome", "location", "test")
# What each file of the tests of input is about, for the sums.
INPUTS = {
    "tests/fuzz/test_data_sheets.py": "annotation sheets",
    "tests/fuzz/test_data_frames.py": "frame folders, images, videos",
    "tests/fuzz/test_data_clips.py": "clip tables, smallest clips, encoded images",
    "tests/fuzz/test_data_landmarks.py": "68-point files",
    "tests/fuzz/test_data_paths.py": "names and paths that climb",
    "tests/fuzz/test_data_no_code.py": "code in a file of data",
    "tests/fuzz/test_config_overrides.py": "configs and overrides",
    "tests/fuzz/test_config_tables.py": "table files",
    "tests/fuzz/test_config_weights.py": "weights and checkpoints",
    "tests/fuzz/test_config_runs.py": "run folders and predictions",
    "tests/fuzz/test_config_print.py": "printed scores and command lines",
    "tests/test_reproduce.py": "records of runs by others",
}
LIMITS = (
    "Settings that somebody chose by looking at test scores and typed into a config: no program can tell.",
    "A copy of a clip that was cropped, mirrored or blurred, or begins elsewhere in its recording; names of "
    "one person that are spelt quite differently.",
    "Links inside a release's folder, which are followed, as people keep parts of it on other disks; with "
    "`data=folder` one that leads out of the root is left out, and told.",
    "A run folder that was forged with fitting hashes: they tell damage, not malice.",
    "A power cut, which kill -9 is not: files are on the disk before they are renamed, but no machine "
    "was switched off to try it.",
    "The same bytes on another kind of processor or with other versions: `mer reproduce` tells what differs.",
)


def main(arguments: Sequence[str]) -> None:
    """Run what is not stored, write the page; exit code 1 if an attempt succeeded in breaking something."""
    if "--stored" not in arguments:
        measured = run()
        write_text(COUNTS, json.dumps(measured, indent=1) + "\n")
        write_text(PAGE, page(measured))
        if failed := failures(measured):
            raise SystemExit(f"{', '.join(failed)}: not every promise held, see above")
    else:
        write_text(PAGE, page(json.loads(COUNTS.read_text(encoding="utf-8"))))
    print(f"written to {PAGE.relative_to(ROOT)}")


def run() -> dict[str, Any]:
    """All attempts, counted, and how the tests that made them ended."""
    known = provenance()  # before the tests, which take a while
    with tempfile.TemporaryDirectory() as scratch:
        told, report = Path(scratch) / "attempts.jsonl", Path(scratch) / "tests.xml"
        told.touch()
        for place, mode in ((Path(scratch), 0o755), (told, 0o666)):  # a test tells as another user
            place.chmod(mode)
        examples = os.environ.get("MER_FUZZ", EXAMPLES)
        environment = os.environ | {"MER_TRUST": str(told), "MER_FUZZ": examples}
        options = ["-q", "-n", "auto", "--timeout", "0", f"--junitxml={report}"]
        commands = {
            "tests": ["-m", "pytest", *options, *TESTS],
            BY_HAND: ["-m", "tests.faults.kills", "--kills", str(KILLS), "--seed", "0"],
        }
        ended = {
            name: subprocess.run(
                [sys.executable, *command], cwd=ROOT, env=environment, check=False
            ).returncode
            for name, command in commands.items()
        }
        lines = told.read_text(encoding="utf-8").splitlines()
        tests = read_report(report) if report.exists() else {"passed": 0, "failed": [], "skipped": {}}
    attempts = pd.DataFrame([json.loads(line) for line in lines], columns=[*COLUMNS, "amount"])
    counts = attempts.groupby(list(COLUMNS), as_index=False).agg(
        tries=("amount", "size"), amount=("amount", "sum")
    )
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": known["commit"] + (" and changes" if known["dirty"] else ""),
        "examples": int(examples),
        "python": platform.python_version(),
        "versions": known["versions"],
        "ended": ended,
        "tests": tests,
        "outcomes": counts.to_dict("records"),
    }


def read_report(path: Path) -> dict[str, Any]:
    """How many tests a JUnit file says passed; the names of those that failed, and that were skipped."""
    found: dict[str, Any] = {"passed": 0, "failed": [], "skipped": {}}
    for case in ElementTree.parse(path).iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            found["failed"].append(name)
        elif skipped is not None:
            found["skipped"][name] = skipped.get("message", "")
        else:
            found["passed"] += 1
    return found


def failures(measured: dict[str, Any]) -> list[str]:
    """The tests that failed, and the commands."""
    return [*_tests(measured)["failed"], *(name for name, code in measured["ended"].items() if code)]


def page(measured: dict[str, Any]) -> str:
    """The page of these counts, in Markdown."""
    counts = pd.DataFrame(measured["outcomes"], columns=[*COLUMNS, "tries", "amount"])
    counts["file"] = counts["test"].str.partition("::")[0]
    failed, tests = failures(measured), _tests(measured)
    held = f"FAILED: {', '.join(failed)}" if failed else "All attempts ended as promised"
    skipped = [f"`{name}` ({why})" for name, why in tests["skipped"].items()]
    passed = ""
    if "passed" in tests:
        passed = (
            f": {tests['passed']} tests passed, {len(tests['failed'])} failed, {len(skipped)} were skipped"
        )
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    parts = [
        "# What can be relied on, and how it was tried",
        "A result is worth what can be believed of it, so each promise was tried by attempts to break it. "
        "`make trust` makes all of them again and writes this page; `make test` makes some of each kind at "
        "every change.",
        f"**{held}**{passed}. {measured['date']}, commit {measured['commit']}, Python {measured['python']}, "
        f"{versions}.",
        *([f"Skipped, so not tried: {', '.join(skipped)}."] if skipped else []),
        _promises(counts, failed),
        "An attempt is one input, kill or leak; of each property up to "
        f"{measured['examples']} inputs were drawn. An outcome is distinct if what was tried, how it ended "
        "or the line of code where it ended is: a thousand inputs that are refused at the same line are one.",
        "## Figures",
        _figures(counts),
        "## What the words mean",
        "\n".join(f"- **{outcome}**: {words}" for outcome, words in OUTCOMES.items()),
        "An attempt that ends in any other way, or so where it must not, fails its test, and this page "
        "begins with its name.",
        "## What is not promised",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## Every attempt",
    ]
    for promise, (words, _) in PROMISES.items():
        mine = counts[counts["promise"] == promise]
        parts += [
            f"### {promise.capitalize()}",
            words,
            _table(mine) if len(mine) else "Not tried in this run.",
        ]
    return "\n\n".join(parts) + "\n"


def _tests(measured: dict[str, Any]) -> dict[str, Any]:
    """How the tests ended; counts of before November 22 do not say how many passed."""
    found: dict[str, Any] = measured.get("tests", {"failed": [], "skipped": {}})
    return found


def _promises(counts: pd.DataFrame, failed: Sequence[str]) -> str:
    """A line a promise: how it is tried, how often, and whether it held."""
    lines = [
        "| | promise | how it is tried | attempts | distinct outcomes | outcome |",
        "|---|---|---|---:|---:|---|",
    ]
    for name, (words, how) in PROMISES.items():
        mine = counts[counts["promise"] == name]
        files = set(mine["file"])
        broken = [test for test in failed if test.partition("::")[0] in files]
        held = f"**FAILED**: {', '.join(broken)}" if broken else "held" if len(mine) else "not tried"
        endings = f": {_endings(mine)}" if len(mine) else ""
        lines.append(
            f"| **{name}** | {words} | {how} | {mine['tries'].sum():,} | {_distinct(mine):,} "
            f"| {held}{endings} |"
        )
    return "\n".join(lines)


def _figures(counts: pd.DataFrame) -> str:
    """The sums that a hurried reader wants."""
    killed = counts[counts["kind"].str.startswith("kill -9")]
    by_hand = killed[killed["file"] == BY_HAND]["tries"].sum()
    leaks = counts[(counts["promise"] == "leaks") & (counts["outcome"] == "refused")]
    equal = counts[counts["outcome"] == "equal"]
    compared = equal[equal["promise"].isin(["determinism", "faults"])]
    scores = equal[equal["promise"] == "numbers"]
    searched = counts[counts["outcome"] == "none"]
    inputs = counts[(counts["promise"] == "input") & (counts["outcome"] != "none")]
    survived = killed[killed["outcome"].isin(["survived", "exit code 1"])]["tries"].sum()
    lines = [
        "| figure | |",
        "|---|---|",
        f"| kills survived | {survived} of {killed['tries'].sum()}: {by_hand} seeded ones by `{BY_HAND}`, "
        "the others in the tests |",
        f"| leaks caught | {leaks['kind'].nunique()} ways, {leaks['tries'].sum()} attempts |",
        f"| bytes compared, and equal | {compared['amount'].sum():,} in "
        f"{compared['tries'].sum()} comparisons |",
        f"| scores compared, and equal to 1e-12 | {scores['amount'].sum():,} |",
        f"| modules searched for calls that could run code from data | "
        f"{searched['amount'].sum():,}, none found |",
        f"| inputs tried | {inputs['tries'].sum():,} of {inputs['kind'].nunique()} kinds, "
        f"{_distinct(inputs):,} distinct outcomes |",
        "",
        "| inputs tried, by kind | inputs | distinct outcomes | ended |",
        "|---|---:|---:|---|",
    ]
    of = inputs["file"].map(lambda name: INPUTS.get(name, name))
    for name, mine in inputs.groupby(of):
        lines.append(f"| {name} | {mine['tries'].sum():,} | {_distinct(mine):,} | {_endings(mine)} |")
    return "\n".join(lines)


def _table(counts: pd.DataFrame) -> str:
    """A line a kind: how often it was tried, how it ended, at how many places."""
    lines = ["| tried | times | ended | distinct | by |", "|---|---:|---|---:|---|"]
    for kind, rows in counts.groupby("kind"):
        where = ", ".join(f"`{name}`" for name in sorted(set(rows["file"])))
        lines.append(f"| {kind} | {rows['tries'].sum():,} | {_endings(rows)} | {_distinct(rows)} | {where} |")
    return "\n".join(lines)


def _endings(counts: pd.DataFrame) -> str:
    """How many ended how: ``refused 12, exit code 1: 2``."""
    tries = counts.groupby("outcome")["tries"].sum().sort_values(ascending=False, kind="stable")
    return ", ".join(
        f"{name}{':' if name[-1].isdigit() else ''} {n:,}"
        for name, n in zip(map(str, tries.index), tries, strict=True)
    )


def _distinct(counts: pd.DataFrame) -> int:
    return len(counts[["kind", "outcome", "location"]].drop_duplicates())


if __name__ == "__main__":
    main(sys.argv[1:])
