"""What the tests tell docs/trust.md: how each attempt to break a promise ended, and where in the code.

`make trust` runs the tests with MER_TRUST naming a file, to which each attempt adds a line; without it
nothing is written. The page counts distinct outcomes, by kind of input and code location: a thousand
inputs that end at the same line are one.
"""

import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from mer.errors import MerError

PACKAGE = Path(__file__).parents[1] / "mer"
T = TypeVar("T")


class Promise(NamedTuple):
    """What a reader of a result may rely on, and how that is tried."""

    words: str
    how: str


PROMISES = {
    "leaks": Promise(
        "A run in which the test subject could have chosen or taught anything stops before training.",
        "Deliberate leaks: by the split, by a protocol of one's own, by two names for one person or clip, "
        "across databases, by the weights that a run starts from. And the reverse: the test subject's pixels "
        "and labels are replaced, and weights, losses and the chosen epoch stay the same bytes.",
    ),
    "faults": Promise(
        "A kill, a full disk or a second process loses no finished fold, and no half file is read.",
        "Real `mer train` and `mer table` killed at random moments and started again, until their bytes are "
        "those of an undisturbed run; signals; disks that are full or read only; files with a flipped "
        "bit or missing bytes, one after another; two processes at once; clocks that go back.",
    ),
    "input": Promise(
        "Bad input ends in one line that names it; no clip is dropped unsaid; no code is run from data.",
        "Property-based and mutation tests (Hypothesis) over annotation sheets, frames, videos, landmarks, "
        "configs, table files, weights and run folders; live payloads of code in every kind of file.",
    ),
    "determinism": Promise(
        "The same seed gives the same bytes, and a run's own record is enough to repeat it.",
        "A run repeated in another process, with another number of workers, hash seed, locale, time zone and "
        "folder, and after other runs; `mer reproduce` on a run folder alone. Compared byte by byte.",
    ),
    "numbers": Promise(
        "Scores are those of the reference implementations and of cases worked by hand.",
        "Frozen predictions scored by exact fractions and by scikit-learn, to 1e-12, also of absent classes.",
    ),
    "supply chain": Promise(
        "No test reaches the network; every dependency has a floor and stands in the tested set.",
        "Each socket but a Unix one is refused in every test and in the processes that it starts; the test "
        "fails even where the refusal is caught. `make test-oldest` (the oldest versions) and "
        "`make audit-dependencies` are run by hand and are no part of this page.",
    ),
}
# How an attempt may end. An ending that breaks a promise is none of these: it fails the test.
OUTCOMES = {
    "refused": "one line that names what is wrong, and nothing else was done",
    "accepted": "taken, with a check of what came of it: the same scores, each clip used or told",
    "labelled": "computed, and called a leak wherever it is shown",
    "equal": "the same bytes, or the same number to 1e-12",
    "survived": "whatever can be read is whole, and no finished fold was lost",
    "made again": "the damage was noticed and the file made again from its source",
    "left aside": "the damage was noticed and told, and the file not used",
    "none": "searched for, and not found",
    "exit code": "ended with this code and at most one line, no traceback",
}


def record(promise: str, kind: str, outcome: str, location: str = "", amount: int = 1) -> None:
    """Tell the page of one attempt.

    Args:
        promise: a key of `PROMISES`.
        kind: what was tried: "annotation sheet", "kill -9 while encoding", "clip under two names"...
        outcome: a key of `OUTCOMES`; "exit code" with its number.
        location: where in the code it ended, ``mer/data/sheet.py:read_sheet:120``; or "".
        amount: what the attempt counts for: bytes or scores that were compared.
    """
    assert promise in PROMISES, promise
    assert re.sub(r"(?<=exit code) \d+$", "", outcome) in OUTCOMES, outcome
    if path := os.environ.get("MER_TRUST"):
        line = {
            "promise": promise, "kind": kind, "outcome": outcome, "location": location,
            "amount": amount, "test": _test(),
        }  # fmt: skip
        # One short write at the end of the file: lines of parallel tests do not mix.
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def attempt(promise: str, kind: str, call: Callable[[], T]) -> T | MerError:
    """Call what may refuse its input; anything but a result or a one-line MerError fails the test.

    Returns:
        The result, or the error with which it was refused.
    """
    try:
        result = call()
    except MerError as error:
        refusal = error
    else:
        record(promise, kind, "accepted")
        return result
    text = str(refusal)
    assert text.strip(), f"an empty message at {where(refusal)}"
    assert "\n" not in text, f"a message of several lines: {text!r}"
    record(promise, kind, "refused", where(refusal))
    return refusal


def where(error: BaseException) -> str:
    """The innermost line of the package in an error's traceback, ``mer/data/sheet.py:read_sheet:120``."""
    inner = ""
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if path.is_relative_to(PACKAGE):
            inner = f"{path.relative_to(PACKAGE.parent).as_posix()}:{frame.name}:{frame.lineno}"
    return inner


def _test() -> str:
    """The test that runs, or the module that was started by hand: ``tests/faults/kills.py``."""
    if test := os.environ.get("PYTEST_CURRENT_TEST"):
        return test.rpartition(" (")[0]  # "tests/test_leaks.py::test_it[a b] (call)"
    started = getattr(sys.modules["__main__"], "__spec__", None)
    return f"{started.name.replace('.', '/')}.py" if started else "by hand"
