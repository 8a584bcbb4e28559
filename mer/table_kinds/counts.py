"""Kind ``counts``: clips of each class of databases, ours beside those that the paper prints.

Example::

    kind: counts
    title: "AffectiveNet, section 4.1: clips of each class"
    paper: {name: AffectiveNet, section: 4.1, caption: Datasets}
    columns:
      positive: Positive
      negative: Negative
      surprise: Surprise
      others: {header: Others, of: [others, other]}
      total: Total
      subjects: Subjects
    rows:
      - label: CASME
        data: casme
        labels: 4class
        paper: {positive: 9, negative: 50, surprise: 21, others: 106, total: 187}
        notes: [casme]
      - {label: SAMM of MEGC 2019, data: megc2019, database: samm}
      - {label: SMIC as annotated, data: smic, labels: 3class, by: label}
    footnotes:
      casme: CASME has 12 clips of happiness.

``columns``: class -> header, or ``{header, of}`` where databases name a class in several ways; ``total`` and
``subjects`` are those of all clips. A row has ``data``, a config of conf/data; ``labels``, one of its label
sets (default: its own); ``database``, one of a composite's; ``by: label`` to count the emotions of the clips
that the label set keeps (default ``class``); printed cells ``paper``; ``notes``. Each class that a row counts
needs a column.

Ours are counted from the clip table where the folders are known, by ``roots.<database>=`` on the command line
or as `mer train` finds them; else they are the counts published with the database, through the same label
set. The table says which. Printed classes that do not add up to the printed total get a footnote.
"""

import inspect
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mer import config
from mer.data.clips import KEY
from mer.data.label_sets import check_labels
from mer.errors import MerError
from mer.prepare import read_table
from mer.table_formats import Grid, Sheet
from mer.table_kinds import _schema as schema
from mer.table_needs import NAMES, databases, lacking

TOTAL, SUBJECTS = "total", "subjects"
UNKNOWN = "not known"


@dataclass(frozen=True)
class Counted:
    """Clips a class and subjects; None where nothing says."""

    classes: dict[str, int] | None
    subjects: int | None
    source: str
    synthetic: bool = False


def lay_out(request: Mapping[str, Any], path: Path, overrides: Sequence[str]) -> Sheet:
    """The table of counts; ``roots.<database>=`` names folders, ``data.root=`` the only one.

    Raises:
        MerError: what is wrong with the file, naming the key; or with a database that is there.
    """
    given = schema.read_overrides(overrides, ["roots.", "data.root"])
    top = schema.checked(
        path, "", request, {**schema.TOP, "columns": dict, "rows": list}, schema.TOP_OPTIONAL
    )
    columns = {str(key): _Column.read(path, str(key), value) for key, value in top["columns"].items()}
    if not top["rows"] or not columns:
        raise MerError(f"{path}: {'columns' if top['rows'] else 'rows'}: empty")
    roots = _roots(path, given, top["rows"])
    notes = schema.Notes(path, top.get("footnotes", {}))
    lines: list[list[str]] = []
    grid = Grid(["database", "line", *(column.header for column in columns.values())], lines, left=2)
    sources = Grid(["row", "data", "label set", "counted from"], left=4)
    synthetic = False
    for number, value in enumerate(top["rows"], start=1):
        where = schema.place(number, value)
        optional = {"labels": str, "database": str, "by": str, "paper": dict, "notes": list}
        row = schema.checked(path, where, value, {"label": str, "data": str}, optional)
        schema.choice(path, f"{where}.by", row.get("by", "class"), ["class", "label"])
        counted, labels = count(path, where, row, roots)
        synthetic |= counted.synthetic
        paper = schema.read_printed(path, f"{where}.paper", row.get("paper"), columns)
        ours = _in_columns(path, where, counted, columns)
        label = notes.label(where, row["label"], row.get("notes", []), _sum_note(paper))
        lines += schema.block(
            label,
            columns,
            paper=paper,
            ours={key: UNKNOWN if found is None else str(found) for key, found in ours.items()},
            differences={key: schema.difference(found, paper.get(key)) for key, found in ours.items()},
        )
        sources.lines.append([schema.line(row["label"]), row["data"], labels, counted.source])
    title = schema.line(top["title"])
    return Sheet(
        title=f"SYNTHETIC DATA: {title}" if synthetic else title,
        caption=schema.caption(path, top),
        grid=grid,
        footnotes=notes.listed(),
        how=[
            "Ours is counted from the clip table of a database that is here, else from the counts published "
            "with it, through the label set of its config.",
            *(["Drawn faces: these numbers say nothing about the databases."] if synthetic else []),
            "The difference is ours - the paper's.",
        ],
        data=sources,
        command=schema.command(path, [f"roots.{name}=/path/to/{name}" for name in roots]),
        flat=schema.flat(grid),
    )


def count(path: Path, where: str, row: Mapping[str, Any], roots: Mapping[str, str]) -> tuple[Counted, str]:
    """The counts of a row, and the name of its label set.

    Raises:
        MerError: no such data, label set or database; or whatever is wrong with the data.
    """
    name = row["data"]
    cfg = config.compose([f"data={name}"])
    if "labels" in row:
        check_labels(name, row["labels"], cfg.data.get("label_sets"))
        cfg.data.labels = row["labels"]
    _name_roots(cfg, roots)
    named = {NAMES.get(each, each) for each in roots}
    missing = [each for each in lacking(name) if each not in named]
    by_label, database = row.get("by") == "label", row.get("database")
    counted = _published(cfg, missing, by_label, database) if missing else _read(cfg, by_label, database)
    if counted.classes is not None and not counted.classes:
        raise MerError(f"{path}: {where}.database={database}: {name} holds no clip of it")
    return counted, str(cfg.data.get("labels") or "its classes")


def _roots(path: Path, given: Mapping[str, str], rows: Sequence[Any]) -> dict[str, str]:
    """Database -> folder, of the command line."""
    roots = {key.removeprefix("roots."): value for key, value in given.items() if key != "data.root"}
    named = [row.get("data") for row in rows if isinstance(row, Mapping)]
    data = dict.fromkeys(name for name in named if isinstance(name, str))  # what is none is told with its row
    shown = list(dict.fromkeys(name for each in data for name in databases(each)))
    if strange := sorted(roots.keys() - set(shown)):
        raise MerError(f"roots.{strange[0]}=: {path} shows {', '.join(shown)}")
    if "data.root" not in given:
        return roots
    if len(shown) != 1:
        raise MerError(
            f"data.root= names one folder, and {path} shows {', '.join(shown)}: "
            "give roots.<database>= of each, or set MER_ROOT_<DATABASE>"
        )
    return {shown[0]: given["data.root"], **roots}


def _name_roots(cfg: DictConfig, roots: Mapping[str, str]) -> None:
    """Put the folders of the command line into a config, wherever it wants them."""
    if "root" in cfg.data:
        cfg.data.root = roots.get(cfg.data.name, cfg.data.root)
    for key in roots.keys() & set(cfg.data.clips):
        cfg.data.clips[key] = roots[key]
    if "databases" in cfg.data.clips:
        for key in roots.keys() & set(cfg.data.clips.databases):
            OmegaConf.update(cfg, f"data.clips.roots.{key}", roots[key], force_add=True)


def _read(cfg: DictConfig, by_label: bool, database: str | None) -> Counted:
    table = read_table(cfg)
    clips = table.mapped
    if by_label:
        clips = clips[KEY].merge(table.clips[[*KEY, "label"]], on=KEY, validate="one_to_one")
    if database is not None:
        clips = clips[clips["database"] == database]
    subjects = len(clips.drop_duplicates(["database", "subject"]))
    source = "the clip table of a stand-in" if table.synthetic else "the clip table"
    return Counted(dict(Counter(clips["label"])), subjects, source, table.synthetic)


def _published(cfg: DictConfig, missing: Sequence[str], by_label: bool, database: str | None) -> Counted:
    """What is published with a database, through the label set."""
    read, options = config.function(cfg.data.clips, "data.clips")
    published = getattr(sys.modules[read.__module__], "PUBLISHED_COUNTS", None)
    # They are of the reader's own choice of clips and labels.
    defaults = inspect.signature(read).parameters
    other = [key for key, value in options.items() if key in defaults and value != defaults[key].default]
    if published is None or other:
        return Counted(
            None, None, f"nothing: it needs {', '.join(missing)}, and no count of this choice is published"
        )
    label_map = cfg.data.label_map
    classes: Counter[str] = Counter()
    subjects: int | None = 0
    for name, counts in published.items():
        if database not in (None, name):
            continue
        for label, clips in counts.items():
            if label == SUBJECTS:
                continue
            if label_map is not None and label not in label_map:
                raise MerError(f"{cfg.data.name}: the published label {label!r} is not in its label map")
            target = label if label_map is None else label_map[label]
            if target is None:
                subjects = None  # whether a subject is left is not published
            else:
                classes[label if by_label else target] += clips
        subjects = None if subjects is None else subjects + counts[SUBJECTS]
    return Counted(dict(classes), subjects, "the published counts")


@dataclass(frozen=True)
class _Column:
    header: str
    classes: tuple[str, ...]

    @staticmethod
    def read(path: Path, key: str, value: Any) -> "_Column":
        if isinstance(value, str) and value.strip():
            return _Column(value, (key,))
        fields = schema.checked(path, f"columns.{key}", value, {"header": str, "of": list}, {})
        return _Column(fields["header"], tuple(map(str, fields["of"])))


def _in_columns(
    path: Path, where: str, counted: Counted, columns: Mapping[str, _Column]
) -> dict[str, int | None]:
    """Our number of each column; a class that a row does not have is left out."""
    if counted.classes is None:
        return dict.fromkeys(columns, None)
    known = {
        name for key, column in columns.items() if key not in (TOTAL, SUBJECTS) for name in column.classes
    }
    if lost := sorted(counted.classes.keys() - known):
        raise MerError(f"{path}: {where}: it counts {lost[0]!r}, which has no column")
    ours: dict[str, int | None] = {}
    for key, column in columns.items():
        there = [counted.classes[name] for name in column.classes if name in counted.classes]
        if key == TOTAL:
            ours[key] = sum(counted.classes.values())
        elif key == SUBJECTS:
            ours[key] = counted.subjects
        elif there:
            ours[key] = sum(there)
    return ours


def _sum_note(paper: Mapping[str, schema.Printed]) -> list[str]:
    """A footnote where the printed classes are not the printed total."""
    parts = [
        cell.value for key, cell in paper.items() if key not in (TOTAL, SUBJECTS) and cell.value is not None
    ]
    total = paper[TOTAL].value if TOTAL in paper else None
    if not parts or total is None or sum(parts) == total:
        return []
    return [f"The printed classes add up to {sum(parts):.0f}, not to {total:.0f}."]
