"""The run folder: its path, lock, atomic writes, reads and completeness. The one owner of that contract.

::

    runs/<experiment>/<variant>[.<tag>]/<data>/<protocol>/seed-<s>/
        plan.yaml                    what decides the result, and every fold of the split
        fold-<database>.<subject>/
            predictions.parquet      one row a tested clip
            metrics.csv              one row an epoch
            run.yaml                 the record; written last, so its presence means finished
            failed.txt               why the last attempt ended, where there is no run.yaml
"""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import pandas as pd
import yaml

from mer.errors import MerError

KEY = ["database", "subject", "clip"]
State = Literal["done", "failed", "running", "missing"]


@dataclass(frozen=True)
class RunKey:
    """What names a run: one (experiment, variant, data, protocol, seed), with all its folds."""

    experiment: str
    variant: str
    data: str
    protocol: str
    seed: int
    tag: str = ""

    def folder(self, runs_dir: Path) -> Path:
        """The run folder. No ``=`` in its names: Hydra could not read them back."""
        variant = f"{self.variant}.{self.tag}" if self.tag else self.variant
        return runs_dir / self.experiment / variant / self.data / self.protocol / f"seed-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What decides a run's results, and the folds that make it complete."""

    config: dict[str, Any]
    classes: list[str]
    folds: list[str]
    clips: int
    content: str


def fold_folder(run: Path, fold: str) -> Path:
    """The folder of one fold."""
    return run / f"fold-{fold.replace('/', '.')}"


def start(run: Path, plan: Plan) -> None:
    """Write plan.yaml, unless the folder was made under another config or from other data.

    Raises:
        MerError: naming the first key that differs; nothing is written then.
    """
    path = run / "plan.yaml"
    if path.exists():
        found = read_plan(run)
        if found == plan:
            return
        if any(state(run, fold) == "done" for fold in found.folds):
            raise MerError(
                f"{run}: holds folds made with {_difference(found, plan)}; "
                "pass tag=<name> to keep both, or remove the folder"
            )
    run.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(vars(plan), sort_keys=False, allow_unicode=True))


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        MerError: there is none, or it cannot be read.
    """
    path = run / "plan.yaml"
    try:
        return Plan(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise MerError(f"{run}: no run here (no plan.yaml)") from error
    except (TypeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise MerError(
            f"{path}: damaged ({str(error).splitlines()[0]}); remove the run folder and run again"
        ) from error


def state(run: Path, fold: str) -> State:
    """Whether a fold is done, failed, being trained by a live process, or missing."""
    folder = fold_folder(run, fold)
    if (folder / "run.yaml").exists():
        return "done"
    if (folder / "lock").exists():
        lock = filelock.FileLock(folder / "lock")
        try:
            with lock.acquire(blocking=False):
                pass
        except filelock.Timeout:
            return "running"
    return "failed" if (folder / "failed.txt").exists() else "missing"


@contextmanager
def claim(run: Path, fold: str) -> Iterator[Path]:
    """Hold a fold's lock while it is trained; gives its folder.

    Raises:
        MerError: another process holds it.
    """
    folder = fold_folder(run, fold)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(folder / "lock", blocking=False):
            yield folder
    except filelock.Timeout as error:
        raise MerError(f"{folder}: another process is training this fold; wait for it or stop it") from error


def finish(folder: Path, predictions: pd.DataFrame, metrics: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a fold's files, each atomically and run.yaml last."""
    _atomic(folder / "predictions.parquet", lambda path: predictions.to_parquet(path, index=False))
    _atomic(folder / "metrics.csv", lambda path: metrics.to_csv(path, index=False))
    write_text(folder / "run.yaml", yaml.safe_dump(dict(record), sort_keys=False, allow_unicode=True))
    (folder / "failed.txt").unlink(missing_ok=True)


def fail(folder: Path, reason: str) -> None:
    """Leave the reason why a fold failed."""
    write_text(folder / "failed.txt", reason.rstrip() + "\n")


def read_record(run: Path, fold: str) -> dict[str, Any]:
    """The run.yaml of a finished fold."""
    path = fold_folder(run, fold) / "run.yaml"
    record = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(record, dict):
        raise MerError(f"{path}: damaged; remove the folder {path.parent} and run again")
    return record


def read_predictions(run: Path, *, partial: bool = False) -> pd.DataFrame:
    """The predictions of all folds of a run, pooled, in the order of the plan's folds.

    Args:
        run: a run folder.
        partial: take the folds that are there.

    Returns:
        Columns database, subject, clip, fold, seed, epoch, label, p_<class>...

    Raises:
        MerError: folds are missing (unless ``partial``), damaged, from another label map, or a clip
            stands in two of them.
    """
    plan = read_plan(run)
    done = [fold for fold in plan.folds if state(run, fold) == "done"]
    if len(done) < len(plan.folds) and not partial:
        missing = [fold for fold in plan.folds if fold not in set(done)]
        raise MerError(
            f"{run}: {len(missing)} of {len(plan.folds)} folds are missing ({_some(missing)}); run them, or pass --partial"
        )
    if not done:
        raise MerError(f"{run}: no fold is finished yet")
    pooled = pd.concat([_read_fold(run, fold, plan) for fold in done], ignore_index=True)
    if (twice := pooled.duplicated([*KEY, "epoch"])).any():
        row = pooled[twice].iloc[0]
        raise MerError(f"{run}: clip {row['database']}/{row['subject']}/{row['clip']} is tested in two folds")
    if not partial and len(pooled.drop_duplicates(KEY)) != plan.clips and len(plan.folds) > 1:
        raise MerError(
            f"{run}: {len(pooled)} predictions for {plan.clips} clips; remove the folder and run again"
        )
    return pooled


def find(runs_dir: Path) -> list[Path]:
    """Every run folder under ``runs_dir``, sorted."""
    return sorted(path.parent for path in runs_dir.glob("*/*/*/*/seed-*/plan.yaml"))


def write_text(path: Path, text: str) -> None:
    """Write a file under a temporary name and rename it, so that no half file is ever read."""
    _atomic(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))


def _atomic(path: Path, write: Any) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        write(scratch)
        scratch.chmod(0o644)  # mkstemp makes it private
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _read_fold(run: Path, fold: str, plan: Plan) -> pd.DataFrame:
    path = fold_folder(run, fold) / "predictions.parquet"
    try:
        predictions = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise MerError(
            f"{path}: damaged ({str(error).splitlines()[0]}); remove its folder and run again"
        ) from error
    expected = [*KEY, "fold", "seed", "epoch", "label", *(f"p_{name}" for name in plan.classes)]
    if list(predictions.columns) != expected:
        raise MerError(
            f"{path}: has the columns {list(predictions.columns)}, not those of this label map {expected}"
        )
    if set(predictions["fold"]) != {fold}:
        raise MerError(f"{path}: holds fold {_some(sorted(set(predictions['fold'])))}, not {fold}")
    return predictions


def _difference(found: Plan, plan: Plan) -> str:
    old, new = _flat(found.config), _flat(plan.config)
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            return f"{key}={old.get(key, 'absent')}, now {new.get(key, 'absent')}"
    if found.content != plan.content:
        return f"other data (content {found.content[:8]}, now {plan.content[:8]})"
    return "other folds, clips or classes"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
