"""A paper's print check: reads ``experiments/<paper>/print_check.yaml``, gives findings. No torch.

The file holds what a paper prints, with the table that it is from: class counts (``classes``), rows of
scores (``scores``; the rows of a table file are read from there), matrices, accuracies with the sizes of
their sets and the gains that the text claims, and what cannot be checked. A finding is computed, never typed.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from mer import metrics
from mer.errors import MerError
from mer.print_check import correct_clips, printed_interval
from mer.print_notes import Finding
from mer.print_readings import (
    NAMES,
    best_sizes,
    check_matrix,
    check_row,
    describe_row,
)
from mer.table_file import NOTHING_PRINTED, Table, load_table, printed_number
from mer.yaml_file import read_yaml

SCORED: dict[str, Callable[[NDArray[np.int64]], float]] = {
    "accuracy": metrics.accuracy,
    "f1": metrics.f1_score,
    "uf1": metrics.uf1,
    "uar": metrics.uar,
    "precision": metrics.macro_precision,
}


def findings(path: Path) -> tuple[str, list[Finding]]:
    """The paper's name, and every finding of its file in the file's order.

    Raises:
        MerError: a file that cannot be read, or does not hold what it should, naming it.
    """
    document = read_yaml(path, _AsPrinted)
    sections: dict[str, Callable[[Any, Path], Iterator[Finding]]] = {
        "classes": _classes,
        "scores": _scores,
        "matrices": _matrices,
        "accuracies": _accuracies,
        "not_checked": _not_checked,
    }
    if not isinstance(document, dict) or "paper" not in document:
        raise MerError(f"{path}: paper: missing")
    if unknown := document.keys() - {"paper", *sections}:
        raise MerError(f"{path}: {min(unknown)}: unknown key; there are paper, {', '.join(sections)}")
    found: list[Finding] = []
    for name, check in sections.items():
        try:
            found += check(document.get(name, []), path.parent)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MerError(
                f"{path}: {name}: {type(error).__name__} {error}; compare a shipped file"
            ) from error
        except MerError as error:
            raise MerError(f"{path}: {name}: {error}") from error
    return document["paper"], found


def _classes(entries: Sequence[Mapping[str, Any]], _: Path) -> Iterator[Finding]:
    first: dict[str, tuple[str, dict[str, int], int]] = {}
    for entry in entries:
        parts = {name: int(number) for name, number in entry["parts"].items()}
        groups = {
            name: sum(parts[part] for part in members) for name, members in entry.get("groups", {}).items()
        }
        added = sum(parts.values())
        sums = f"{' + '.join(map(str, parts.values()))} = {added}"
        wrong = []
        if int(entry.get("total", added)) != added:
            wrong.append(f"{sums}, printed {entry['total']}")
        name = entry["set"]
        if name in first:
            where, known, total = first[name]
            wrong += [
                f"{part} {number}, {where} {known[part]}"
                for part, number in (parts | groups).items()
                if known.get(part, number) != number
            ]
            if total != added:
                wrong.append(f"the classes add up to {added}, {where}'s to {total}")
        else:
            first[name] = (entry["where"], parts | groups, added)
        verdict = "inconsistent" if wrong else "consistent"
        yield Finding(entry["where"], name, "", verdict, "; ".join(wrong) or sums)


def _scores(entries: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[Finding]:
    for entry in entries:
        counts = {subset: [int(n) for n in numbers] for subset, numbers in entry["counts"].items()}
        if "table" in entry:
            rows = _table_rows(load_table(folder / entry["table"]))
        else:
            rows = {(label, "all"): dict(row) for label, row in entry["rows"].items()}
        for (label, subset), printed in rows.items():
            check = check_row(counts[subset], printed)
            text = describe_row(counts[subset], printed, check)
            yield Finding(entry["where"], label, subset, check.verdict, text)
        if "same_as" in entry:
            yield from _same(entry["where"], rows, _table_rows(load_table(folder / entry["same_as"])))


def _same(
    where: str,
    rows: Mapping[tuple[str, str], Mapping[str, str]],
    others: Mapping[tuple[str, str], Mapping[str, str]],
) -> Iterator[Finding]:
    """Rows that have two or more figures of a row with another label."""
    for (label, subset), printed in rows.items():
        for (other, its_subset), its in others.items():
            shared = [name for name, text in printed.items() if name in its and _equal(text, its[name])]
            if subset == its_subset and len(shared) > 1 and label not in other:
                names = ", ".join(f"{NAMES[name]} {printed[name]}" for name in shared)
                yield Finding(where, label, subset, "inconsistent", f"{names}: these are the row {other}")


def _matrices(entries: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[Finding]:
    for entry in entries:
        found: dict[str, NDArray[np.int64]] = {}
        rows = _table_rows(load_table(folder / entry["table"])) if "table" in entry else {}
        for name, given in entry["matrices"].items():
            counts = [int(n) for n in given["counts"]]
            check = check_matrix(given["cells"], counts, of=entry["of"])
            about, clips = (entry["where"], entry.get("row", ""), name), sum(counts)
            wrong = [
                f"row {entry['classes'][row]} ({', '.join(given['cells'][row])}) cannot be {counts[row]} "
                f"of {clips} clips"
                for row in check.rows
            ]
            if "accuracy" in given:
                interval = printed_interval(given["accuracy"])
                low, high = check.correct[0] / clips, check.correct[-1] / clips
                if interval.high < low or interval.low > high:
                    wrong.append(f"its diagonal is {low:.1%} to {high:.1%}, the accuracy {given['accuracy']}")
            if wrong:
                yield Finding(*about, "inconsistent", "; ".join(wrong))
                continue
            if check.matrix is None:
                yield Finding(*about, "consistent", f"{check.ways:,} matrices in whole clips")
                continue
            found[name] = check.matrix
            text, verdict = f"in whole clips {check.matrix.tolist()}", "consistent"
            if printed := rows.get((entry.get("row", ""), name)):
                verdict, against = compare(check.matrix, printed)
                text += f"; {against}"
            yield Finding(*about, verdict, text)
        if "whole" in entry and len(found) == len(entry["matrices"]):
            whole = found.pop(entry["whole"])
            adds = np.array_equal(np.sum(list(found.values()), axis=0), whole)
            text = f"{' + '.join(found)} {'is' if adds else 'is not'} {entry['whole']}"
            yield Finding(entry["where"], entry["row"], "", "consistent" if adds else "inconsistent", text)


def compare(matrix: NDArray[np.int64], printed: Mapping[str, str]) -> tuple[str, str]:
    """Verdict on printed figures, by column, beside the matrix (K, K) that they belong to, and its words.

    Raises:
        MerError: a figure that is none of a matrix.
    """
    if strange := [name for name in printed if name not in SCORED]:
        raise MerError(f"{strange[0]}: no such figure of a matrix; there are {', '.join(SCORED)}")
    values = {name: function(matrix) for name, function in SCORED.items()}
    different, verdict = [], "consistent"
    for name, text in printed.items():
        interval = printed_interval(text)
        if interval.holds(np.array([values[name]]))[0]:
            continue
        others = [NAMES[key] for key, value in values.items() if interval.holds(np.array([value]))[0]]
        is_other = f" (which is its {' and its '.join(others)})" if others else ""
        if verdict != "inconsistent":
            verdict = "only if" if others else "inconsistent"
        different.append(f"its {NAMES[name]} is {values[name]:.4f}, printed {text}{is_other}")
    return verdict, "; ".join(different) or "with the printed " + ", ".join(NAMES[name] for name in printed)


def _accuracies(entries: Sequence[Mapping[str, Any]], _: Path) -> Iterator[Finding]:
    for entry in entries:
        where, columns = entry["where"], entry["columns"]
        cells = {
            (row, column): text
            for row, texts in entry["rows"].items()
            for column, text in zip(columns, texts, strict=True)
            if text != NOTHING_PRINTED
        }
        for name, sizes in entry["sets"].items():
            texts = {key: text for key, text in cells.items() if columns[key[1]] == name}
            yield _whole_clips(where, name, [int(size) for size in sizes], list(texts.values()))
        yield from _repeated(where, cells)
        quotes = {
            (row, column): text
            for row, texts in entry.get("quotes", {}).items()
            for column, text in zip(columns, texts, strict=True)
        }
        for gain in entry.get("gains", []):
            yield _gain(gain, columns, cells | quotes)


def _whole_clips(where: str, name: str, sizes: Sequence[int], texts: Sequence[str]) -> Finding:
    """Whether accuracies are whole clips of one of the printed sizes, and else of which size most are."""
    if not sizes:
        return Finding(where, name, "", "not checked", "no number of clips is printed")
    correct = {size: [correct_clips(printed_interval(text), size) for text in texts] for size in sizes}
    for size, numbers in correct.items():
        if all(numbers):
            whole = ", ".join(
                f"{text} = {' or '.join(map(str, number))}"
                for text, number in zip(texts, numbers, strict=True)
            )
            return Finding(where, name, "", "consistent", f"{whole} of {size}")
    fit = ", ".join(f"{sum(map(bool, numbers))} are k/{size}" for size, numbers in correct.items())
    best, most = best_sizes(texts, sizes[0])
    others = f"no N within 10% makes {'it' if len(texts) == 1 else 'half of them'} k/N"
    if 2 * most >= len(texts):
        others = f"{most} are k/N for N = {', '.join(map(str, best))}"
    chance = printed_interval(texts[0])
    luck = f"by chance {min(1, sizes[0] * (chance.high - chance.low)):.1%} of figures are"
    which = texts[0] if len(texts) == 1 else f"of {len(texts)} accuracies"
    return Finding(where, name, "", "inconsistent", f"{which}: {fit}; {others}; {luck}")


def _repeated(where: str, cells: Mapping[tuple[str, str], str]) -> Iterator[Finding]:
    """Figures that stand in more than one column: different sets do not give the same accuracy."""
    for text, times in Counter(cells.values()).items():
        places = [f"{row} on {column}" for (row, column), cell in cells.items() if cell == text]
        if times > 1 and len({column for (_, column), cell in cells.items() if cell == text}) > 1:
            yield Finding(where, text, "", "inconsistent", f"stands {times} times: {', '.join(places)}")


def _gain(
    gain: Mapping[str, Any], columns: Mapping[str, str], cells: Mapping[tuple[str, str], str]
) -> Finding:
    """Whether the gains that the text claims are the differences of the table, but for rounding."""
    wrong = []
    for column, text in zip(columns, gain["printed"], strict=True):
        if text == NOTHING_PRINTED:
            continue
        of, over = (Decimal(cells[gain[key], column].removesuffix("%")) for key in ("of", "over"))
        if abs(of - over - Decimal(text)) > Decimal("0.01"):
            wrong.append(f"{column} {text}, the table has {of} - {over} = {of - over}")
    about = f"{gain['of']} over {gain['over']}"
    return Finding(
        gain["where"],
        about,
        "",
        "inconsistent" if wrong else "consistent",
        "; ".join(wrong) or "as in the table",
    )


def _not_checked(lines: Sequence[str], _: Path) -> Iterator[Finding]:
    for line in lines:
        where, _colon, text = line.partition(": ")
        yield Finding(where, "", "", "not checked", text)


def _table_rows(table: Table) -> dict[tuple[str, str], dict[str, str]]:
    """Printed figures by (label, subset), of the rows that print any."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in table.rows:
        for column in table.columns:
            text = row.paper.get(column.key, NOTHING_PRINTED)
            if text != NOTHING_PRINTED:
                rows.setdefault((row.label, column.subset), {})[column.metric] = text
    return rows


def _equal(first: str, second: str) -> bool:
    values = printed_number(first), printed_number(second)
    return None not in values and abs(Decimal(str(values[0])) - Decimal(str(values[1]))) < Decimal("1e-9")


class _AsPrinted(yaml.BaseLoader):
    """Every figure is the text that stands there (0.5280 keeps its zero); a key cannot stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.YAMLError(f"the key {twice[0]!r} stands twice, {str(node.start_mark).strip()}")
        return super().construct_mapping(node, deep)
