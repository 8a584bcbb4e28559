"""Results of ours for a table: from a run folder, or as stored beside the table. No torch."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mer import runs, selection
from mer.atomic import write_atomically, write_text
from mer.errors import MerError
from mer.runs import KEY, NEUTRAL_KEYS, RunKey
from mer.yaml_file import parse_yaml

SYNTHETIC = "synthetic"
_MACHINE_PATH = re.compile(r"/|~|[A-Za-z]:[\\/]|file:")


@dataclass(frozen=True)
class Record:
    """What made a result. It holds no path of the machine."""

    experiment: str
    variant: str
    data: str
    protocol: str
    seed: int
    tag: str
    classes: list[str]
    content: str  # hash of the encoded data
    clips: int
    folds: int
    epochs: int
    seconds: float  # training, summed over the folds
    commit: str
    dirty: bool
    mer: str
    torch: str
    date: str
    config: dict[str, Any]
    synthetic: bool = False
    select: str = selection.LAST  # the rule that chose each fold's epoch

    @property
    def key(self) -> RunKey:
        """The run that it was."""
        return RunKey(self.experiment, self.variant, self.data, self.protocol, self.seed, self.tag)

    @property
    def name(self) -> str:
        """As a table file names it."""
        return f"{self.experiment}/{self.variant}"


@dataclass(frozen=True)
class Result:
    """The predictions of one run, one epoch a fold, and what made them."""

    where: Path
    record: Record
    predictions: pd.DataFrame
    folds_done: int

    @property
    def complete(self) -> bool:
        """Whether every fold is there."""
        return self.folds_done == self.record.folds


def read_run(
    key: RunKey, runs_dir: Path, *, select: str = selection.LAST, partial: bool = False
) -> Result | None:
    """The result of a run; None where there is none, or, unless ``partial``, where folds are missing.

    Args:
        key: names the run.
        runs_dir: where run folders lie.
        select: rule of `mer.selection`, which epoch of each fold counts.
        partial: take the folds that are there.

    Raises:
        MerError: the run folder is damaged, its folds do not fit together, or it lacks what the rule needs.
    """
    folder = key.folder(runs_dir)
    if not (folder / "plan.yaml").exists():
        return None
    plan = runs.read_plan(folder)
    done = [fold for fold in plan.folds if runs.state(folder, fold) == "done"]
    if not done or (len(done) < len(plan.folds) and not partial):
        return None
    records = runs.read_records(folder, done)
    every_epoch = runs.read_predictions(folder, partial=partial, records=records)
    predictions = _selected(every_epoch, select, folder, records)
    _check_predictions(predictions, plan.classes, key.seed, folder)
    epochs = int(every_epoch["epoch"].max())
    record = make_record(key, folder, plan, list(records.values()), epochs=epochs, select=select)
    return Result(folder, record, predictions, len(done))


def make_record(
    key: RunKey,
    folder: Path,
    plan: runs.Plan,
    records: Sequence[Mapping[str, Any]],
    *,
    epochs: int,
    select: str,
) -> Record:
    """What made the result of folds of a run, of which these are the records.

    Raises:
        MerError: the record of a fold is damaged.
    """
    try:
        for record in records:
            check_made_as(key, record, folder)
        return Record(
            **vars(key),
            classes=plan.classes,
            content=plan.content,
            clips=plan.clips,
            folds=len(plan.folds),
            epochs=epochs,
            seconds=round(sum(float(record["seconds"]) for record in records), 1),
            commit=_joined(record["commit"] for record in records),
            dirty=any(record["dirty"] for record in records),
            mer=_joined(record["mer"] for record in records),
            torch=_joined(record["versions"]["torch"] for record in records),
            date=_joined(record["date"] for record in records),
            config=_without_machine(plan.config),
            synthetic=plan.synthetic or key.data == SYNTHETIC,
            select=select,
        )
    except (KeyError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise MerError(
            f"{folder}: the run.yaml of a fold is damaged ({type(error).__name__}: {text})"
        ) from error


def check_made_as(key: RunKey, record: Mapping[str, Any], folder: Path) -> None:
    """Raise MerError where a folder that names one run holds a fold of another: it was copied or renamed."""
    wanted = vars(key)
    if strange := [name for name in wanted if record.get(name, wanted[name]) != wanted[name]]:
        name = strange[0]
        raise MerError(
            f"{folder}: fold {record.get('fold')} was made with {name}={record[name]}, and lies in the "
            f"folder of {name}={wanted[name]}; move it back where it was made, and run this one"
        )


@dataclass(frozen=True)
class Storage:
    """The folder beside a table that keeps the predictions it was rendered from."""

    folder: Path
    data: str  # of the table; runs on other data or under another protocol have it in their file's name
    protocol: str
    select: str

    def path(self, key: RunKey) -> Path:
        """Where the predictions of a run are stored; their record has the suffix .yaml."""
        home = "" if (key.data, key.protocol) == (self.data, self.protocol) else f".{key.data}.{key.protocol}"
        return self.folder / f"{key.experiment}.{key.variant}{home}.seed-{key.seed}.parquet"

    def write(self, result: Result) -> None:
        """Store a complete result; the record is written last."""
        assert result.complete, "partial results are never stored"
        write_stored(self.path(result.record.key), result.predictions, result.record)

    def read(self, key: RunKey) -> Result | None:
        """The stored result of a run, None where there is none.

        Raises:
            MerError: the files are damaged, or are those of another run or of another rule.
        """
        path = self.path(key)
        remedy = "restore both files, or pass --fresh"
        stored = read_stored(path, key, remedy)
        if stored is None:
            return None
        predictions, record = stored
        if record.select != self.select:
            raise MerError(
                f"{path}: its epochs were chosen under select={record.select}, not {self.select}; {remedy}"
            )
        _check_predictions(predictions, record.classes, key.seed, path)
        clips, folds = len(predictions), predictions["fold"].nunique()
        if (clips, folds) != (record.clips, record.folds):
            raise MerError(
                f"{path}: {clips} clips in {folds} folds, not {record.clips} in {record.folds}; {remedy}"
            )
        return Result(path, record, predictions, record.folds)


def write_stored(path: Path, table: pd.DataFrame, record: Record) -> None:
    """Store what a table was rendered from as Parquet; its record, a YAML beside it, is written last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda scratch: table.to_parquet(scratch, index=False, compression="zstd"))
    fields = vars(record) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_text(_record_path(path), yaml.safe_dump(fields, sort_keys=False, allow_unicode=True))


def read_stored(path: Path, key: RunKey, remedy: str) -> tuple[pd.DataFrame, Record] | None:
    """What :func:`write_stored` wrote; None where there is nothing.

    Args:
        path: of the Parquet file.
        key: the run that it has to be of.
        remedy: what to do about a file that is damaged, for the message.

    Raises:
        MerError: the files are damaged, or are those of another run.
    """
    beside = _record_path(path)
    if not path.exists() and not beside.exists():
        return None
    try:
        fields = parse_yaml(beside.read_text(encoding="utf-8"))
        expected = fields.pop("sha256")
        record = Record(**fields)
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise MerError(f"{path}: damaged (not the bytes that its record {beside.name} names); {remedy}")
        table = pd.read_parquet(path)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        text = " ".join(str(error).split())
        raise MerError(
            f"{path}: damaged, or its record is ({type(error).__name__}: {text}); {remedy}"
        ) from error
    if record.key != key:
        raise MerError(f"{path}: stored from {_words(record.key)}, not from {_words(key)}; {remedy}")
    return table, record


def check_together(results: Sequence[Result]) -> None:
    """Refuse results that cannot stand in one table.

    Raises:
        MerError: on the same data other classes or other content; under the same protocol too, other label
            counts, or seeds of a variant under other configs.
    """
    by_data: dict[str, Result] = {}
    counted: dict[tuple[str, str], Result] = {}
    by_variant: dict[tuple[str, str, str], Result] = {}
    for result in results:
        record = result.record
        first = by_data.setdefault(record.data, result)
        if first.record.classes != record.classes:
            raise MerError(f"{_both(first, result)}: classes {first.record.classes} and {record.classes}")
        # The content is that of the encoded images: rows under another encoding have another.
        same_encoding = first.record.config.get("encoding") == record.config.get("encoding")
        if same_encoding and first.record.content != record.content:
            raise MerError(
                f"{_both(first, result)}: other data "
                f"(content {first.record.content[:8]} and {record.content[:8]})"
            )
        if result.complete:
            first = counted.setdefault((record.data, record.protocol), result)
            if _label_counts(first) != _label_counts(result):
                raise MerError(f"{_both(first, result)}: other clips or labels")
        first = by_variant.setdefault((record.name, record.data, record.protocol), result)
        if first.record.config != record.config:
            raise MerError(f"{first.where} and {result.where}: seeds of {record.name} under other configs")


def _both(first: Result, other: Result) -> str:
    return (
        f"{first.where} ({first.record.name}) and {other.where} ({other.record.name}) do not fit in one table"
    )


def _selected(
    predictions: pd.DataFrame, select: str, folder: Path, records: Mapping[str, dict[str, Any]]
) -> pd.DataFrame:
    metrics = None
    if select == selection.BEST_ON_VALIDATION:
        metrics = pd.concat(
            [runs.read_metrics(folder, fold, record).assign(fold=fold) for fold, record in records.items()],
            ignore_index=True,
        )
    try:
        return selection.select(predictions, select, metrics)
    except MerError as error:
        raise MerError(f"{folder}: {error}") from error


def _check_predictions(predictions: pd.DataFrame, classes: Sequence[str], seed: int, where: Path) -> None:
    columns = [f"p_{name}" for name in classes]
    expected = [*KEY, "fold", "seed", "epoch", "label", *columns]
    if list(predictions.columns) != expected:
        raise MerError(
            f"{where}: has the columns {list(predictions.columns)}, not those of its classes {expected}"
        )
    if predictions.empty or predictions.duplicated(KEY).any():
        raise MerError(f"{where}: no predictions, or a clip stands twice")
    if set(predictions["seed"]) != {seed}:
        raise MerError(f"{where}: holds the seeds {sorted(set(predictions['seed']))}, not {seed}")
    if other := set(predictions["label"]) - set(classes):
        raise MerError(
            f"{where}: holds the label {min(map(str, other))!r}; its classes are {', '.join(classes)}"
        )
    if not np.isfinite(predictions[columns].to_numpy(dtype=np.float64)).all():
        raise MerError(f"{where}: holds a probability that is no number: the training diverged")


def _label_counts(result: Result) -> dict[Any, int]:
    return dict(result.predictions.groupby(["database", "label"]).size())


def _without_machine(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config without neutral keys, and without any value that is a path of this machine."""
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if f"{prefix}{key}" in NEUTRAL_KEYS or _is_path(value):
            continue
        kept[key] = _without_machine(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
    return kept


def _is_path(value: Any) -> bool:
    if isinstance(value, list):
        return any(_is_path(each) for each in value)
    return isinstance(value, str) and bool(_MACHINE_PATH.match(value))


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values}))


def _record_path(path: Path) -> Path:
    return path.with_suffix(".yaml")


def _words(key: RunKey) -> str:
    return " ".join(f"{name}={value}" for name, value in vars(key).items() if value != "")
