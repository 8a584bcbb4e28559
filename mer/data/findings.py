"""What a reader noticed about a database's files, and what it did about it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import pandas as pd

from mer.errors import MerError, in_one_line

Outcome = Literal["used", "corrected", "left out"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        place: the file or folder, with the row of a spreadsheet where there is one.
        clip: ``<database>/<subject>/<clip>``, or empty.
        problem: what is wrong.
        outcome: what happens to the clip.
        action: what was done, by which rule; or what the user can do.
        known: a quirk of the release that this project has settled; ``strict`` lets it pass.
    """

    place: str
    clip: str
    problem: str
    outcome: Outcome
    action: str
    known: bool = False

    def __str__(self) -> str:
        clip = f"{self.clip}: " if self.clip else ""
        text = f"{self.place}: {clip}{self.problem}; {self.outcome}: {self.action}"
        return in_one_line(text)


class Reading(NamedTuple):
    """What a reader gives: the validated clip table, and every finding, not only the first.

    ``published`` are the counts to compare with, where they are not ``PUBLISHED_COUNTS`` of the reader's
    file: of another reading of the same annotation, or empty where nothing is published of it. ``still``
    are videos that hold none of the expressions, for spotting: see :func:`mer.data.videos.find_videos`.
    """

    clips: pd.DataFrame
    findings: list[Finding]
    published: Mapping[str, Mapping[str, int]] | None = None
    still: pd.DataFrame | None = None


def check_strict(findings: Sequence[Finding], database: str) -> None:
    """Raise MerError where there is a finding that is no known quirk of the release."""
    if new := [finding for finding in findings if not finding.known]:
        raise MerError(
            f"{database}: strict=true and {len(new)} finding(s), the first: {new[0]}; "
            f"`mer audit data={database}` with the run's other options lists all"
        )


def summary(findings: Sequence[Finding]) -> str:
    """The findings in one line, such as ``3 findings: 1 corrected, 2 left out``; empty for none."""
    if not findings:
        return ""
    outcomes = Counter(finding.outcome for finding in findings)
    parts = [f"{count} {name}" for name, count in sorted(outcomes.items())]
    return f"{len(findings)} finding{'s' * (len(findings) > 1)}: {', '.join(parts)}"


def place_of(source: Path, row: int | None) -> str:
    """A file, and the row of a spreadsheet as its program numbers it."""
    return str(source) if row is None else f"{source}, row {row}"


def as_reading(result: Reading | pd.DataFrame) -> Reading:
    """What a reader returned: one that has nothing to tell may return the clip table alone."""
    return Reading(result, []) if isinstance(result, pd.DataFrame) else result
