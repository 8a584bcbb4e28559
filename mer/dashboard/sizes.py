"""How large networks are: of runs, counted with torch; and as the papers print them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mer.errors import MerError
from mer.runs import Plan
from mer.table_file import printed_number, read_document


@dataclass(frozen=True)
class Printed:
    """The parameters that a paper prints of a network."""

    paper: str  # folder of the table
    table: str
    label: str
    variant: str  # <experiment>/<variant>, where ours is one
    parameters: float | None  # the first number that is printed
    text: str  # as printed, in millions
    uf1: float | None  # that the same paper prints of the same variant


def parameters(plan: Plan, channels: int | None) -> int | str:
    """The trainable numbers of a run's network, or why they are not known. Imports torch.

    Args:
        plan: of the run.
        channels: of its encoded images; None where they are not known.
    """
    network, encoding = (
        json.dumps(plan.config.get(key), sort_keys=True, default=str) for key in ("network", "encoding")
    )
    return _count(network, encoding, channels, len(plan.classes))


@cache  # the seeds of a variant have one network
def _count(network: str, encoding: str, channels: int | None, classes: int) -> int | str:
    import torch

    from mer import config

    try:
        fields, made_by = json.loads(network), json.loads(encoding)
        if not isinstance(fields, dict):
            return "its plan names no network"
        made = config.factory(fields, torch.nn.Module, "network")
        if channels is None:
            if not isinstance(made_by, dict):
                return "its encoded images are not in the cache, so their channels are not known"
            encode = config.call(config.factory(made_by, torch.nn.Module, "encoding"), "encoding")
            # Two black frames in colour tell the channels.
            channels = int(encode(torch.zeros(1, 2, 3, 64, 64), torch.tensor([2])).shape[-3])
        if "weights" in made.keywords:
            made.keywords["weights"] = None  # a count does not depend on them
        with torch.device("meta"):
            built = config.call(made, "network", in_channels=channels, num_classes=classes)
        return int(sum(parameter.numel() for parameter in built.parameters()))
    except MerError as error:
        return str(error)
    except Exception as error:  # somebody's own network
        return f"{type(error).__name__}: {error}"


def read_printed(experiments: Path) -> list[Printed]:
    """The parameters that the tables of kind ``complexity`` print, with the paper's UF1 of the same variant.

    A file that cannot be read is passed over: the page of papers says why.
    """
    documents = list(_documents(experiments))
    scores = dict(_printed_scores(documents))
    found = []
    for path, document in documents:
        if document.get("kind") != "complexity":
            continue
        for row in _rows(document):
            text, number = _printed_cell(row, "parameters")
            if not text:
                continue
            variant = str(row.get("variant", ""))
            paper = path.parent.name
            found.append(
                Printed(
                    paper=paper,
                    table=path.stem,
                    label=str(row.get("label", "")),
                    variant=variant,
                    parameters=None if number is None else number * 1e6,
                    text=text,
                    uf1=scores.get((paper, variant)),
                )
            )
    return found


def _printed_scores(documents: list[tuple[Path, dict[str, Any]]]) -> Iterator[tuple[tuple[str, str], float]]:
    """(paper, variant) -> the UF1 over all clips that it prints."""
    for path, document in documents:
        columns = document.get("columns")
        if "kind" in document or not isinstance(columns, Mapping):
            continue
        wanted = [
            key
            for key, column in columns.items()
            if isinstance(column, Mapping) and (column.get("metric"), column.get("subset")) == ("uf1", "all")
        ]
        for row in _rows(document):
            for key in wanted:
                _, number = _printed_cell(row, str(key))
                if number is not None and "variant" in row:
                    yield (path.parent.name, str(row["variant"])), number


def _documents(experiments: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(experiments.glob("*/*.yaml")):
        try:
            document = read_document(path)
        except MerError:
            continue
        if isinstance(document, dict):
            yield path, document


def _rows(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    rows = document.get("rows")
    yield from (row for row in rows if isinstance(row, Mapping)) if isinstance(rows, list) else ()


def _printed_cell(row: Mapping[str, Any], key: str) -> tuple[str, float | None]:
    """A printed cell as text and its first number; it may hold a number for each place that prints one."""
    paper = row.get("paper")
    cell = paper.get(key) if isinstance(paper, Mapping) else None
    if cell is None:
        return "", None
    several = isinstance(cell, Mapping)
    places = {str(at): str(value) for at, value in (cell if several else {"": cell}).items()}
    text = ", ".join(f"{value} ({place})" if several else value for place, value in places.items())
    try:
        return text, printed_number(next(iter(places.values()), "-"))
    except ValueError:
        return text, None


def variant_name(name: str) -> str:
    """``<experiment>/<variant>`` of a run's name, as table files write it."""
    experiment, variant = name.split("/")[:2]
    return f"{experiment}/{variant}"
