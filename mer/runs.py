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

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import pandas as pd
import yaml

from mer.atomic import write_atomically, write_text
from mer.errors import MerError

KEY = ["database", "subject", "clip"]
BASE_VARIANT = "base"  # the experiment as its own file has it
# They do not change a result.
NEUTRAL_KEYS = {
    *("workers", "device", "runs_dir", "logger", "data.root", "faces.landmarks", "strict", "save_weights"),
    "store",  # the last epoch is the same; other rules say where epochs are missing
}
State = Literal["done", "failed", "running", "missing"]
# The C parser, where PyYAML has it: a run holds dozens of records.
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        """The run folder, at a fixed depth: a config ``<folder>/<name>`` becomes ``<folder>.<name>``.

        Raises:
            MerError: a name holds what a path or Hydra could not read back, as ``=`` does.
        """
        for key in ("experiment", "variant", "data", "protocol", "tag"):
            name = getattr(self, key)
            if not re.fullmatch(r"\w[\w./+-]*" if key != "tag" else r"(\w[\w.+-]*)?", name):
                raise MerError(f"{key}={name!r} names a folder: letters, digits and . _ + - only")
        variant = f"{self.variant}.{self.tag}" if self.tag else self.variant
        names = (name.replace("/", ".") for name in (self.experiment, variant, self.data, self.protocol))
        return runs_dir.joinpath(*names, f"seed-{self.seed}")


@dataclass(frozen=True)
class Plan:
    """What decides a run's results, and the folds that make it complete."""

    config: dict[str, Any]
    classes: list[str]
    folds: list[str]
    clips: int
    content: str
    synthetic: bool = False  # drawn faces: whatever shows the results says so


def fold_folder(run: Path, fold: str) -> Path:
    """The folder of one fold."""
    return run / f"fold-{fold.replace('/', '.')}"


def start(run: Path, plan: Plan) -> None:
    """Write plan.yaml, unless the folder was made under another config or from other data.

    Raises:
        MerError: naming the first key that differs; nothing is written then.
    """
    if len({fold_folder(run, fold) for fold in plan.folds}) < len(plan.folds):
        raise MerError(f"{run}: two folds have the same folder; rename a database or a subject")
    text = yaml.safe_dump(vars(plan), sort_keys=False, allow_unicode=True)
    path = run / "plan.yaml"
    if path.exists():
        found = read_plan(run)
        if found == plan:
            return
        states = {state(run, fold) for fold in found.folds}
        if "done" in states:
            raise MerError(
                f"{run}: holds folds made with {_difference(found, plan)}; "
                "pass tag=<name> to keep both, or remove the folder"
            )
        if "running" in states:
            raise MerError(
                f"{run}: another process trains here with {_difference(found, plan)}; "
                "pass tag=<name> to keep both, or stop it"
            )
        for fold in found.folds:  # what failed there says nothing of this config
            (fold_folder(run, fold) / "failed.txt").unlink(missing_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        MerError: there is none, or it cannot be read.
    """
    path = run / "plan.yaml"
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _YAML_LOADER)
        plan = Plan(**found)
        if [type(value) for value in vars(plan).values()] != [dict, list, list, int, str, bool]:
            raise TypeError("not a plan")
    except FileNotFoundError as error:
        raise MerError(f"{run}: no run here (no plan.yaml)") from error
    except (TypeError, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from error
    return plan


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
        except PermissionError:
            pass  # another user's run: whether it is alive cannot be seen
    return "failed" if (folder / "failed.txt").exists() else "missing"


@contextmanager
def claim(run: Path, fold: str) -> Iterator[Path]:
    """Hold a fold's lock while it is trained; gives its folder.

    Raises:
        MerError: another process holds it.
    """
    folder = fold_folder(run, fold)
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / "lock")
    try:
        # Not at once: `state` holds the lock for a moment when it looks.
        lock.acquire(timeout=1, poll_interval=0.02)
    except filelock.Timeout as error:
        raise MerError(f"{folder}: another process is training this fold; wait for it or stop it") from error
    try:
        (folder / "failed.txt").unlink(missing_ok=True)  # it speaks of the last attempt, now this one
        yield folder
    finally:
        lock.release()


def finish(folder: Path, predictions: pd.DataFrame, metrics: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a fold's files, each atomically and run.yaml last.

    Raises:
        MerError: a probability is not finite: the training diverged. Nothing is written then.
    """
    if not _finite(predictions):
        raise MerError(f"{folder}: probabilities are not finite: the training diverged; lower optimizer.lr")
    # Without checksums a flipped bit in a page reads as another number.
    write_atomically(
        folder / "predictions.parquet",
        lambda path: predictions.to_parquet(path, index=False, write_page_checksum=True),
    )
    write_atomically(folder / "metrics.csv", lambda path: metrics.to_csv(path, index=False))
    write_text(folder / "run.yaml", yaml.safe_dump(dict(record), sort_keys=False, allow_unicode=True))
    (folder / "failed.txt").unlink(missing_ok=True)


def fail(folder: Path, reason: str) -> None:
    """Leave the reason why a fold failed."""
    write_text(folder / "failed.txt", reason.rstrip() + "\n")


def read_record(run: Path, fold: str) -> dict[str, Any]:
    """The run.yaml of a finished fold.

    Raises:
        MerError: the fold is not finished, or the file cannot be read.
    """
    path = fold_folder(run, fold) / "run.yaml"
    try:
        record = yaml.load(path.read_text(encoding="utf-8"), _YAML_LOADER)
    except FileNotFoundError as error:
        raise MerError(f"{run}: fold {fold} is not finished (no run.yaml)") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(record, dict):
        raise _unreadable(path, TypeError("not a record"))
    return record


def read_metrics(run: Path, fold: str) -> pd.DataFrame:
    """The metrics.csv of a finished fold: column epoch and what was logged; no row where nothing was.

    Raises:
        MerError: it cannot be read.
    """
    path = fold_folder(run, fold) / "metrics.csv"
    try:
        metrics = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame({"epoch": pd.Series(dtype="int64")})
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if "epoch" not in metrics:
        raise _unreadable(path, TypeError("no column epoch"))
    return metrics


def read_predictions(run: Path, *, partial: bool = False) -> pd.DataFrame:
    """The predictions of all folds of a run, pooled, in the order of the plan's folds.

    Args:
        run: a run folder.
        partial: take the folds that are there.

    Returns:
        Columns database, subject, clip, fold, seed, epoch, label, p_<class>...

    Raises:
        MerError: folds are missing (unless ``partial``), damaged, made under another config or from
            other data than plan.yaml says, or a clip stands in two of them.
    """
    plan = read_plan(run)
    done = [fold for fold in plan.folds if state(run, fold) == "done"]
    if len(done) < len(plan.folds) and not partial:
        missing = [fold for fold in plan.folds if fold not in set(done)]
        raise MerError(
            f"{run}: {len(missing)} of {len(plan.folds)} folds are missing ({_some(missing)}); "
            "run them, or pass --partial"
        )
    if not done:
        raise MerError(f"{run}: no fold is finished yet")
    pooled = pd.concat([_read_fold(run, fold, plan) for fold in done], ignore_index=True)
    if (twice := pooled.duplicated([*KEY, "fold", "epoch"])).any():
        row = pooled[twice].iloc[0]
        raise MerError(f"{fold_folder(run, row['fold'])}: tests clip {_clip(row)} twice")
    tested = pooled[[*KEY, "fold"]].drop_duplicates()
    if (twice := tested.duplicated(KEY)).any():
        raise MerError(f"{run}: clip {_clip(tested[twice].iloc[0])} is tested in two folds")
    if pooled["seed"].nunique() > 1:
        raise MerError(f"{run}: holds folds of the seeds {_some(sorted(map(str, set(pooled['seed']))))}")
    if not partial and len(tested) != plan.clips:
        raise MerError(f"{run}: {len(tested)} tested clips of {plan.clips}; remove the folder and run again")
    return pooled


def find(runs_dir: Path) -> list[Path]:
    """Every run folder under ``runs_dir``, sorted."""
    return sorted(path.parent for path in runs_dir.glob("*/*/*/*/seed-*/plan.yaml"))


def _read_fold(run: Path, fold: str, plan: Plan) -> pd.DataFrame:
    _check_record(run, fold, plan)
    path = fold_folder(run, fold) / "predictions.parquet"
    try:
        predictions = pd.read_parquet(path, page_checksum_verification=True)
    except Exception as error:  # a flipped byte makes pyarrow and pandas raise almost anything
        raise _unreadable(path, error) from error
    expected = [*KEY, "fold", "seed", "epoch", "label", *(f"p_{name}" for name in plan.classes)]
    if list(predictions.columns) != expected:
        raise MerError(
            f"{path}: has the columns {list(predictions.columns)}, not those of this label map {expected}"
        )
    if set(predictions["fold"]) != {fold}:
        raise MerError(f"{path}: holds fold {_some(sorted(map(str, set(predictions['fold']))))}, not {fold}")
    if other := set(predictions["label"]) - set(plan.classes):
        raise MerError(f"{path}: has the labels {_some(sorted(map(str, other)))}, not of this label map")
    if not _finite(predictions):
        raise _unreadable(path, ValueError("probabilities are not finite"))
    return predictions


def _check_record(run: Path, fold: str, plan: Plan) -> None:
    """A sweep can start two configs in one folder at once: each fold's record says which trained it."""
    record = read_record(run, fold)
    old, new = _flat(record.get("config") or plan.config), _flat(plan.config)
    for key in sorted(new):  # the record's config holds the seed and neutral keys too
        if old.get(key, ...) != new[key]:
            raise MerError(
                f"{run}: fold {fold} was made with {key}={old.get(key, 'absent')}, "
                f"plan.yaml says {new[key]}; remove the fold's folder and run again"
            )
    if (content := record.get("content", plan.content)) != plan.content:
        raise MerError(
            f"{run}: fold {fold} was made from other data (content {str(content)[:8]}, plan.yaml says "
            f"{plan.content[:8]}); remove the fold's folder and run again"
        )


def _finite(predictions: pd.DataFrame) -> bool:
    probabilities = [name for name in predictions.columns if str(name).startswith("p_")]
    return bool(np.isfinite(predictions[probabilities].to_numpy(dtype=np.float64)).all())


def _clip(row: "pd.Series[Any]") -> str:
    return "/".join(str(row[name]) for name in KEY)


def _unreadable(path: Path, error: Exception) -> MerError:
    if isinstance(error, PermissionError):
        return MerError(f"{path}: may not be read (permission denied)")
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return MerError(f"{path}: damaged ({why}); remove the folder {path.parent} and run again")


def _difference(found: Plan, plan: Plan) -> str:
    old, new = _flat(found.config), _flat(plan.config)
    differing = [key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...)]
    if differing:
        # A null that became a group is told by the group's keys.
        key = min(differing, key=lambda name: (old.get(name) == new.get(name), name))
        return f"{key}={old.get(key, 'absent')}, now {new.get(key, 'absent')}"
    if found.content != plan.content:
        return f"other data (content {found.content[:8]}, now {plan.content[:8]})"
    names = [name for name in ("classes", "folds", "clips") if getattr(found, name) != getattr(plan, name)]
    return f"other {' and '.join(names)}"


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _some(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
