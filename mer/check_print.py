"""``mer check-print``: whether printed scores can be those of any confusion matrix. No torch."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer.atomic import write_text
from mer.errors import MerError
from mer.print_findings import compare, findings
from mer.print_notes import FOUND, VERDICTS, Finding, write_found
from mer.print_readings import check_accuracy, check_matrix, check_row, describe_row

NAME = "print_check.yaml"


def main(arguments: Sequence[str]) -> None:
    """Check the shipped papers, or one row or matrix of the reader's own.

    Raises:
        MerError: bad input.
    """
    options = _parser().parse_intermixed_args(list(arguments))
    given = options.what
    if options.counts is None:
        if options.matrix is not None or any("=" in what for what in given):
            raise MerError("check-print: give the clips a class, as in --counts 250,109,83")
        _papers([Path(what) for what in given], write=options.write, as_json=options.json)
        return
    if options.write:
        raise MerError(f"--write: a row of your own has no file; write a {NAME} as the shipped ones are")
    counts = _counts(options.counts)
    printed = _printed(given)
    if options.matrix:
        report = _matrix(options.matrix, options.of, counts, printed)
    else:
        report = _row(counts, printed) if len(counts) > 1 else _accuracy(counts[0], printed)
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print(f"{VERDICTS[report['verdict']]}: {report['text']}")


def report(paper: str, found: Sequence[Finding]) -> str:
    """A paper's findings as Markdown, one line each, by table."""
    lines = [f"# {paper}: what its printed figures allow", "", "Made by `mer check-print --write`.", ""]
    lines.append(
        "A solution is a diagonal with its column sums: all that accuracy, F1, UF1, UAR and precision need."
    )
    for where in dict.fromkeys(finding.where for finding in found):
        lines += ["", f"## {where}", ""]
        for finding in found:
            if finding.where == where:
                about = f"{finding.about}: " if finding.about else ""
                lines.append(f"- {about}**{finding.verdict}**: {finding.text}")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer check-print",
        description="Search the confusion matrices in whole clips that could have produced printed figures: "
        "consistent, inconsistent, or consistent only if a column holds another figure than its name says. "
        f"Without --counts: the papers under experiments/ that have a {NAME}.",
        epilog="example: mer check-print --counts 250,109,83 accuracy=.7692 f1=.7389 uf1=.7353 uar=.7605",
    )
    parser.add_argument(
        "what",
        nargs="*",
        help="figures as printed, such as uf1=.7353 or accuracy=76.92%%; or papers' folders",
    )
    parser.add_argument(
        "--counts",
        help="clips a class, as in 250,109,83 (2 to 5 classes); one number is all clips, which tells of an "
        "accuracy alone",
    )
    parser.add_argument(
        "--matrix",
        help="a matrix printed in percent, rows true: '87.6,8.8,3.6;36.7,56.88,6.42;25.3,3.61,71.08'",
    )
    parser.add_argument(
        "--of",
        choices=("row", "all"),
        default="row",
        help="what a cell is a percentage of (default: its row)",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write print_check.md beside each file, and {FOUND}, which tables take footnotes from",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object in place of text")
    return parser


def _papers(given: Sequence[Path], *, write: bool, as_json: bool) -> None:
    paths = [path / NAME if path.is_dir() else path for path in given]
    paths = paths or sorted(Path("experiments").glob(f"*/{NAME}"))
    if not paths:
        raise MerError(f"experiments/*/{NAME}: none here; run it in a checkout, or give --counts and figures")
    collected = {}
    for path in paths:
        paper, found = findings(path)
        collected[paper] = [vars(finding) for finding in found]
        markdown = report(paper, found)
        if write:
            write_text(path.with_suffix(".md"), markdown)
            for written in (path.with_suffix(".md"), write_found(path.parent, paper, found)):
                print(f"written to {written}", file=sys.stderr)
        if not as_json:
            print(markdown)
    if as_json:
        print(json.dumps(collected, indent=1))


def _row(counts: Sequence[int], printed: dict[str, str]) -> dict[str, Any]:
    check = check_row(counts, printed)
    readings = [vars(reading) for reading in check.readings]
    return {
        "verdict": check.verdict,
        "text": describe_row(counts, printed, check),
        "readings": readings,
        "also_fits": check.rivals,
        "other_sizes": check.sizes,
    }


def _accuracy(clips: int, printed: dict[str, str]) -> dict[str, Any]:
    if printed.keys() != {"accuracy"}:
        raise MerError(f"--counts {clips}: all clips tell of accuracy alone; for more give the clips a class")
    verdict, text = check_accuracy(clips, printed["accuracy"])
    return {"verdict": verdict, "text": text}


def _matrix(text: str, of: Any, counts: Sequence[int], printed: dict[str, str]) -> dict[str, Any]:
    cells = [[f"{cell.strip().removesuffix('%')}%" for cell in row.split(",")] for row in text.split(";")]
    check = check_matrix(cells, counts, of=of)
    verdict, words = "consistent", f"{check.ways:,} matrices in whole clips"
    if check.rows:
        rows = ", ".join(str(row + 1) for row in check.rows)
        verdict, words = "inconsistent", f"no whole clips of {list(counts)} give the row {rows}"
    elif check.matrix is not None:
        words = f"in whole clips {check.matrix.tolist()}"
        if printed:
            verdict, against = compare(check.matrix, printed)
            words += f"; {against}"
    elif printed:
        raise MerError(f"--matrix: {words}; print more digits, or check the figures without it")
    return {
        "verdict": verdict,
        "text": words,
        "matrix": None if check.matrix is None else check.matrix.tolist(),
    }


def _counts(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise MerError(f"--counts {text}: whole numbers with commas, as in 250,109,83")
    return [int(number) for number in numbers]


def _printed(given: Sequence[str]) -> dict[str, str]:
    printed: dict[str, str] = {}
    for what in given:
        name, separator, text = what.partition("=")
        if not separator:
            raise MerError(f"{what}: expected figure=value, as in uf1=.7353")
        if name in printed:
            raise MerError(f"{what}: {name} stands twice")
        printed[name] = text
    return printed
