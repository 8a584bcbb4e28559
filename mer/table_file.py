"""A table's YAML file: what a paper printed, and the variants that stand beside it. No torch."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mer import selection
from mer.errors import MerError, shown
from mer.print_notes import Footnote, read_footnotes
from mer.statistics import METRICS as METRICS
from mer.yaml_file import read_yaml

SCORES = "scores"
NOTHING_PRINTED = "-"
_NAMES = {str: "a text", dict: "a mapping", list: "a list", bool: "true or false", int: "a whole number"}
_FLOAT = "tag:yaml.org,2002:float"
Home = tuple[str, str]  # data and protocol


@dataclass(frozen=True)
class Paper:
    """Which printed table this is."""

    name: str
    table: str
    caption: str


@dataclass(frozen=True)
class Column:
    """One score of one subset: ``all`` clips, or a database as the predictions name it."""

    key: str
    subset: str
    metric: str
    header: str
    data: str
    protocol: str
    interval: bool  # show how sure the score is

    @property
    def home(self) -> Home:
        """Whose runs it shows."""
        return self.data, self.protocol


@dataclass(frozen=True)
class Row:
    """One method: a variant of ours, the majority class, or the reason why there is no run of ours."""

    label: str
    paper: dict[str, str]  # column key -> the number as printed
    variant: str | None  # <experiment>/<variant>
    not_run: str | None
    majority: bool
    quote: bool
    notes: tuple[str, ...]
    needs: tuple[str, ...]  # data that its run reads besides the columns'


@dataclass(frozen=True)
class Table:
    """A paper's table."""

    path: Path
    title: str
    paper: Paper | None  # None: a table of our own
    data: str
    protocol: str
    seeds: tuple[int, ...]
    select: str  # a rule of `mer.selection`: which epoch of a fold counts
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    footnotes: dict[str, Footnote]
    compare: tuple[tuple[str, str], ...] = ()  # labels of rows that are tested against each other

    @property
    def homes(self) -> tuple[Home, ...]:
        """The (data, protocol) of its columns, each once."""
        return tuple(dict.fromkeys(column.home for column in self.columns))

    def reads(self, variant: str | None, data: str) -> tuple[str, ...]:
        """The data that a run of a variant reads, its columns' first; None is the majority class."""
        more = (name for row in self.rows if row.variant == variant for name in row.needs)
        return tuple(dict.fromkeys([data, *more]))

    def on(self, data: str) -> "Table":
        """The table with all columns on other data, a stand-in."""
        columns = tuple(replace(column, data=data) for column in self.columns)
        return replace(self, data=data, columns=columns)


def read_document(path: Path) -> Any:
    """What the YAML file of a table of any kind holds; numbers with a point are text, as written.

    Raises:
        MerError: no such file, or no YAML.
    """
    return read_yaml(path, _Loader, missing="no such table file")


def load_table(path: Path) -> Table:
    """Read and check the file of a table of scores.

    Raises:
        MerError: what is wrong with it, naming the file and the key.
    """
    document = read_document(path)
    required = {
        "title": str,
        "data": str,
        "protocol": str,
        "seeds": list,
        "columns": dict,
        "rows": list,
    }
    optional = {"kind": str, "select": str, "paper": dict, "footnotes": dict, "compare": list}
    top = checked(path, "", document, required, optional)
    if (kind := top.get("kind", SCORES)) != SCORES:
        raise MerError(f"{path}: kind={kind}: not a table of scores")
    if (select := top.get("select", selection.LAST)) not in selection.RULES:
        raise MerError(f"{path}: select={select}: choose {', '.join(selection.RULES)}")
    columns = tuple(
        _column(path, str(key), value, top["data"], top["protocol"]) for key, value in top["columns"].items()
    )
    footnotes = read_footnotes(path, top.get("footnotes", {}))
    keys = [column.key for column in columns]
    rows = tuple(
        _row(path, number, value, keys, footnotes) for number, value in enumerate(top["rows"], start=1)
    )
    if twice := _first_twice([row.label for row in rows]):
        raise MerError(f"{path}: rows: the label {twice!r} stands twice")
    if idle := footnotes.keys() - {note for row in rows for note in row.notes}:
        raise MerError(f"{path}: footnotes.{min(idle)}: no row has it in its notes")
    seeds = tuple(top["seeds"])
    if (
        not seeds
        or not all(type(seed) is int and seed >= 0 for seed in seeds)
        or len(set(seeds)) < len(seeds)
    ):
        raise MerError(f"{path}: seeds: different whole numbers from 0 are needed, not {shown(list(seeds))}")
    if not columns or not rows:
        raise MerError(f"{path}: {'rows' if columns else 'columns'}: empty")
    return Table(
        path=path,
        title=line(top["title"]),
        paper=_paper(path, top["paper"]) if "paper" in top else None,
        data=top["data"],
        protocol=top["protocol"],
        seeds=seeds,
        select=select,
        columns=columns,
        rows=rows,
        footnotes=footnotes,
        compare=_compare(path, top.get("compare", []), rows),
    )


def printed_number(text: str) -> float | None:
    """The value of a printed cell, None where it prints none.

    >>> printed_number("0.5280"), printed_number("74.43%"), printed_number("-")
    (0.528, 0.7443, None)
    """
    if text == NOTHING_PRINTED:
        return None
    number = text.removesuffix("%").strip()
    value = float(number)
    # Divided as text: 74.43 / 100 would not be the float .7443.
    return float(f"{number}e-2") if text.endswith("%") else value


def _paper(path: Path, value: Any) -> Paper:
    paper = checked(path, "paper", value, {"name": str, "table": (str, int), "caption": str}, {})
    return Paper(paper["name"], str(paper["table"]), line(paper["caption"]))


def _column(path: Path, key: str, value: Any, data: str, protocol: str) -> Column:
    required = {"subset": str, "metric": str, "header": str}
    optional = {"data": str, "protocol": str, "interval": bool}
    fields = checked(path, f"columns.{key}", value, required, optional)
    if fields["metric"] not in METRICS:
        raise MerError(f"{path}: columns.{key}.metric={fields['metric']}: choose {', '.join(METRICS)}")
    return Column(key=key, **{"data": data, "protocol": protocol, "interval": False, **fields})


def _row(path: Path, number: int, value: Any, columns: list[str], footnotes: Mapping[str, Footnote]) -> Row:
    where = f"rows[{number}]"
    if isinstance(value, Mapping) and "label" in value:
        where += f" ({value['label']})"
    optional = {"paper": dict, "variant": str, "not_run": str, "kind": str, "quote": bool, "notes": list}
    optional |= {"needs": list}
    fields = checked(path, where, value, {"label": str}, optional)
    if fields.get("kind", "majority") != "majority":
        raise MerError(f"{path}: {where}.kind={fields['kind']}: the one kind is majority")
    if len(fields.keys() & {"variant", "not_run", "kind"}) != 1:
        raise MerError(f"{path}: {where}: exactly one of variant, not_run and kind is needed")
    variant = fields.get("variant")
    if variant is not None:
        variant_parts(path, where, variant)
    printed = {}
    for key, cell in fields.get("paper", {}).items():
        if key not in columns:
            raise MerError(f"{path}: {where}.paper.{key}: no such column; there are {', '.join(columns)}")
        printed[key] = _printed(path, f"{where}.paper.{key}", cell)
    for note in (notes := fields.get("notes", [])):
        if not isinstance(note, str) or note not in footnotes:
            raise MerError(f"{path}: {where}.notes: {note!r} is no key of footnotes")
    needs = fields.get("needs", [])
    if not all(isinstance(name, str) for name in needs) or (needs and variant is None):
        raise MerError(f"{path}: {where}.needs: names of data are needed, in a row with a variant")
    return Row(
        label=line(fields["label"]),
        paper=printed,
        variant=variant,
        not_run=line(fields["not_run"]) if "not_run" in fields else None,
        majority="kind" in fields,
        quote=fields.get("quote", False),
        notes=tuple(notes),
        needs=tuple(needs),
    )


def _printed(path: Path, where: str, cell: Any) -> str:
    text = str(cell)
    try:
        value = printed_number(text)
    except ValueError as error:
        raise MerError(f"{path}: {where}: {text!r} is no number") from error
    if value is not None and not 0 <= value <= 1:
        raise MerError(
            f"{path}: {where}: {text} is not in 0..1; write a percentage with its sign, as in 74.43%"
        )
    return text


def _compare(path: Path, value: list[Any], rows: tuple[Row, ...]) -> tuple[tuple[str, str], ...]:
    """The pairs of ``compare``: one pair of labels, or a list of them."""
    pairs = [value] if value and all(isinstance(each, str) for each in value) else value
    labels = [row.label for row in rows if row.variant]
    for pair in pairs:
        fits = isinstance(pair, list) and len(pair) == 2 and pair[0] != pair[1]
        if not fits or any(label not in labels for label in pair):
            raise MerError(
                f"{path}: compare: {shown(pair)} is no pair of rows with a variant; "
                f"there are {'; '.join(labels)}"
            )
    return tuple((first, second) for first, second in pairs)


def variant_parts(path: Path, where: str, variant: str) -> tuple[str, str]:
    """The experiment and the variant that a row names as ``<experiment>/<variant>``.

    Raises:
        MerError: it names none.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", variant):
        raise MerError(
            f"{path}: {where}.variant={variant}: <experiment>/<variant> is needed, such as laenet/base"
        )
    experiment, _, name = variant.partition("/")
    return experiment, name


def checked(
    path: Path, where: str, value: Any, required: Mapping[str, Any], optional: Mapping[str, Any]
) -> dict[str, Any]:
    """``value`` as a mapping with these keys, of these types.

    Raises:
        MerError: naming the file and the key.
    """
    if not isinstance(value, Mapping):
        raise MerError(f"{path}: {where or 'the file'}: a mapping is needed")
    inside = f"{where}." if where else ""
    types = {**required, **optional}
    if unknown := [key for key in value if key not in types]:
        raise MerError(f"{path}: {inside}{unknown[0]}: unknown key; there are {', '.join(types)}")
    if missing := [key for key in required if key not in value]:
        raise MerError(f"{path}: {inside}{missing[0]}: missing")
    for key, found in value.items():
        kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
        # To Python, true is a whole number.
        fits = isinstance(found, kinds) and (bool in kinds or not isinstance(found, bool))
        if not fits or (isinstance(found, str) and not found.strip()):
            needed = " or ".join(_NAMES[kind] for kind in kinds if kind in _NAMES)
            raise MerError(f"{path}: {inside}{key}: {shown(found)} does not fit, {needed} is needed")
    return dict(value)


def line(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def _first_twice(names: list[str]) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)


class _Loader(yaml.SafeLoader):
    """Numbers with a point stay as they are written (0.5280 keeps its zero); a key cannot stand twice."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _FLOAT]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := _first_twice([str(key) for key in keys]):
            raise yaml.YAMLError(f"the key {twice!r} stands twice, {str(node.start_mark).strip()}")
        return super().construct_mapping(node, deep)
