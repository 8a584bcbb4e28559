"""A fold's folder: claimed while it is trained, its files written atomically, run.yaml last."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import pandas as pd
import yaml

from mer.atomic import write_atomically, write_text
from mer.errors import MerError

State = Literal["done", "failed", "running", "missing"]
# The C parser, where PyYAML has it: a run holds dozens of records.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def fold_folder(run: Path, fold: str) -> Path:
    """The folder of one fold."""
    return run / f"fold-{fold.replace('/', '.')}"


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
    if not finite(predictions):
        raise MerError(f"{folder}: probabilities are not finite: the training diverged; lower optimizer.lr")
    write_parquet(folder / "predictions.parquet", predictions)
    write_atomically(folder / "metrics.csv", lambda path: metrics.to_csv(path, index=False))
    write_text(folder / "run.yaml", yaml.safe_dump(dict(record), sort_keys=False, allow_unicode=True))
    (folder / "failed.txt").unlink(missing_ok=True)


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table whose reader notices damage: without checksums a flipped bit reads as another number."""
    write_atomically(path, lambda scratch: table.to_parquet(scratch, index=False, write_page_checksum=True))


def read_parquet(path: Path) -> pd.DataFrame:
    """Read what :func:`write_parquet` wrote.

    Raises:
        MerError: it is missing, may not be read, or is damaged.
    """
    try:
        return pd.read_parquet(path, page_checksum_verification=True)
    except Exception as error:  # a flipped byte makes pyarrow and pandas raise almost anything
        raise unreadable(path, error) from error


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
        record = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
    except FileNotFoundError as error:
        raise MerError(f"{run}: fold {fold} is not finished (no run.yaml)") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise unreadable(path, error) from error
    if not isinstance(record, dict):
        raise unreadable(path, TypeError("not a record"))
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
        raise unreadable(path, error) from error
    if "epoch" not in metrics:
        raise unreadable(path, TypeError("no column epoch"))
    return metrics


def finite(predictions: pd.DataFrame) -> bool:
    probabilities = [name for name in predictions.columns if str(name).startswith("p_")]
    return bool(np.isfinite(predictions[probabilities].to_numpy(dtype=np.float64)).all())


def unreadable(path: Path, error: Exception) -> MerError:
    if isinstance(error, PermissionError):
        return MerError(f"{path}: may not be read (permission denied)")
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return MerError(f"{path}: damaged ({why}); remove the folder {path.parent} and run again")
