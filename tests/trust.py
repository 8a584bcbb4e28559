"""What the tests tell docs/trust.md: how each attempt to break a promise ended, and where in the code.

`make trust` runs the tests with MER_TRUST naming a file, to which each attempt adds a line; without it
nothing is written. The page counts distinct outcomes, by kind of input and code location: a thousand
inputs that end at the same line are one.
"""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mer.errors import MerError

PACKAGE = Path(__file__).parents[1] / "mer"
T = TypeVar("T")

# The promises of the page, each with what a reader of a result may rely on.
PROMISES = {
    "leaks": "A run in which the test subject could have chosen or taught anything stops before training.",
    "faults": "A kill, a full disk or a second process loses no finished fold, and no half file is read.",
    "input": "Bad input ends in one line that names it; no clip is dropped unsaid; no code is run from data.",
    "determinism": "The same seed gives the same bytes, and a run's own record is enough to repeat it.",
    "numbers": "Scores are those of the reference implementations and of cases worked by hand.",
    "supply chain": "The oldest and the newest dependencies work, and no test opens a network socket.",
}


def record(promise: str, kind: str, outcome: str, location: str = "", amount: int = 1) -> None:
    """Tell the page of one attempt.

    Args:
        promise: a key of `PROMISES`.
        kind: what was tried: "annotation sheet", "kill while encoding", "near-duplicate across subjects"...
        outcome: "refused", "accepted", "survived", "equal"...
        location: where in the code it ended, ``mer/data/sheet.py:read_sheet:120``; or "".
        amount: what the attempt counts for, such as bytes compared.
    """
    assert promise in PROMISES, promise
    if path := os.environ.get("MER_TRUST"):
        test = os.environ.get("PYTEST_CURRENT_TEST", "by hand").split(" ")[0]
        line = {
            "promise": promise, "kind": kind, "outcome": outcome, "location": location,
            "amount": amount, "test": test,
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
