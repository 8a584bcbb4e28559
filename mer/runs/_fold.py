"""A fold's folder: claimed while it is trained, its files written atomically, run.yaml last."""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
import pandas as pd
import pyarrow
import yaml
from pyarrow.parquet import ParquetFile

from mer.atomic import write_atomically, write_text
from mer.errors import MerError
from mer.runs._seal import read_sealed, write_sealed

State = Literal["done", "failed", "running", "missing"]
TRACEBACK = "Traceback (most recent call last):"
OWN_FILES = ("lock", "failed.txt", "run.yaml")  # the others are what a fold gave


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
        except OSError:
            pass  # another user's run, or a disk that is read only: whether it is alive cannot be seen
    return "failed" if (folder / "failed.txt").exists() else "missing"


@contextmanager
def claim(run: Path, fold: str) -> Iterator[Path]:
    """Hold a fold's lock while it is trained; gives its folder, without what an unfinished attempt left.

    Raises:
        MerError: another process holds it, or nothing can be written there.
    """
    folder = fold_folder(run, fold)
    lock = filelock.FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Not at once: `state` holds the lock for a moment when it looks.
        lock.acquire(timeout=1, poll_interval=0.02)
    except filelock.Timeout as error:
        raise MerError(f"{folder}: another process is training this fold; wait for it or stop it") from error
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        if not (folder / "run.yaml").exists():
            # The attempt may have had another config, and weights that this one does not save.
            for left in folder.iterdir():
                if left.name != "lock" and left.is_file():
                    left.unlink(missing_ok=True)
        yield folder
    finally:
        lock.release()


def finish(folder: Path, predictions: pd.DataFrame, metrics: pd.DataFrame, record: Mapping[str, Any]) -> None:
    """Write a fold's files, each atomically and run.yaml last.

    To ``record`` it adds ``files``, the sha256 of every file that the fold gave: of these, and of weights and
    scored frames that lie in the folder already.

    Raises:
        MerError: a probability is not finite: the training diverged, and nothing is written; or the disk is
            full or read only.
    """
    if not finite(predictions):
        raise MerError(f"{folder}: probabilities are not finite: the training diverged; lower optimizer.lr")
    try:
        write_parquet(folder / "predictions.parquet", predictions)
        write_atomically(folder / "metrics.csv", lambda path: metrics.to_csv(path, index=False))
        names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
        files = {name: file_hash(folder / name) for name in names if name not in OWN_FILES}
        write_sealed(folder / "run.yaml", {**record, "files": files})
    except OSError as error:
        raise unwritable(folder, error) from error
    (folder / "failed.txt").unlink(missing_ok=True)


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table whose reader notices damage: without checksums a flipped bit reads as another number."""
    write_atomically(path, lambda scratch: table.to_parquet(scratch, index=False, write_page_checksum=True))


def read_parquet(path: Path, record: Mapping[str, Any]) -> pd.DataFrame:
    """Read what :func:`write_parquet` wrote; ``record`` is the run.yaml beside it.

    Raises:
        MerError: it is missing, may not be read, or is damaged.
    """
    try:
        table: pd.DataFrame = read_arrow(path, record).to_pandas()
    except MerError:
        raise
    except Exception as error:  # a flipped byte makes pyarrow and pandas raise almost anything
        raise unreadable(path, error) from error
    return table


def read_arrow(path: Path, record: Mapping[str, Any]) -> pyarrow.Table:
    """The same as a table of pyarrow, of which many are put together before pandas reads them."""
    check_file(path, record)
    try:
        # One file, without what pandas.read_parquet does for data sets of many.
        with ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except Exception as error:
        raise unreadable(path, error) from error


def check_file(path: Path, record: Mapping[str, Any] | None = None) -> None:
    """Raise MerError unless a file of a finished fold has the bytes that were written.

    Args:
        path: predictions.parquet, weights.safetensors or another file in a fold's folder.
        record: the run.yaml beside it, where it was read already. One without ``files`` is older than
            these hashes, and nothing is compared.
    """
    if record is None:
        record = _read_record(path.with_name("run.yaml"))
    files = record.get("files")
    if files is None:
        return
    try:
        if files.get(path.name) != file_hash(path):
            raise unreadable(path, ValueError("not the bytes that run.yaml names"))
    except OSError as error:
        raise unreadable(path, error) from error


def file_hash(path: Path) -> str:
    """The sha256 of a file, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fail(folder: Path, reason: str) -> None:
    """Leave the reason why a fold failed; where it cannot be written, the caller still has it."""
    with contextlib.suppress(OSError):
        write_text(folder / "failed.txt", reason.rstrip() + "\n")


def failure(run: Path, fold: str) -> str:
    """Why the last attempt at a fold ended: the first line of failed.txt, of a traceback the last."""
    try:
        text = (fold_folder(run, fold) / "failed.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "its failed.txt cannot be read"
    lines = text.strip().splitlines() or ["no reason was written"]
    return lines[-1] if lines[0] == TRACEBACK else lines[0]


def read_record(run: Path, fold: str) -> dict[str, Any]:
    """The run.yaml of a finished fold.

    Raises:
        MerError: the fold is not finished, or the file is damaged or cannot be read.
    """
    path = fold_folder(run, fold) / "run.yaml"
    if not path.exists():
        raise MerError(f"{run}: fold {fold} is not finished (no run.yaml)")
    return _read_record(path)


def read_records(run: Path, folds: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The run.yaml of each of these folds; raises as :func:`read_record`."""
    return {fold: read_record(run, fold) for fold in folds}


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = read_sealed(path)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise unreadable(path, error) from error
    parts = ("files", "config")
    if not isinstance(record, dict) or not all(isinstance(record.get(part) or {}, dict) for part in parts):
        raise unreadable(path, TypeError("not a record"))
    return record


def read_metrics(run: Path, fold: str, record: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """The metrics.csv of a finished fold: column epoch and what was logged; no row where nothing was.

    Args:
        run: a run folder.
        fold: one of its folds.
        record: its run.yaml, where it was read already.

    Raises:
        MerError: it is damaged or cannot be read.
    """
    path = fold_folder(run, fold) / "metrics.csv"
    check_file(path, read_record(run, fold) if record is None else record)
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


def unwritable(folder: Path, error: OSError) -> MerError:
    why = error.strerror or str(error)
    return MerError(f"{folder}: cannot be written ({why}); make room or name another runs_dir, and run again")
