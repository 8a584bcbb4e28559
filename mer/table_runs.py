"""The results that a table needs: found in the runs, read from beside it, or trained. No torch.

Training is another process.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mer import selection, table_results
from mer.errors import MerError
from mer.runs import BASE_VARIANT, RunKey
from mer.scores import ALL
from mer.table_cells import Lacking, Results, missing
from mer.table_file import Home, Table
from mer.table_results import Result, Storage

Name = tuple[str, Home, int]  # variant, data and protocol, seed


@dataclass(frozen=True)
class Request:
    """What was asked for: whose results, from where."""

    tag: str
    runs_dir: Path
    for_train: tuple[str, ...]  # overrides that `mer train` gets as they are
    partial: bool
    fresh: bool
    stand_in: bool  # on other data than the table's file says

    def key(self, name: Name) -> RunKey:
        """The run folder's key."""
        variant, (data, protocol), seed = name
        experiment, _, row = variant.partition("/")
        return RunKey(experiment, row, data, protocol, seed, self.tag)


def collect(
    table: Table, request: Request, storage: Storage | None, lacking: Lacking
) -> dict[Name, Result | None]:
    """The result of every run that the table names; those of runs are stored in ``storage``.

    What is missing is trained, unless the request is partial or this machine lacks the data.

    Args:
        table: with the data and seeds that are asked for.
        request: where results lie, and what is given to `mer train`.
        storage: None where the results are not to lie beside the table.
        lacking: data that this machine lacks; nothing is trained on them.

    Raises:
        MerError: results that do not fit together or do not hold what the columns show, a failed training,
            or a training that could not give what the table's ``select`` needs.
    """
    variants = dict.fromkeys(row.variant for row in table.rows if row.variant)
    keys = {
        name: request.key(name)
        for name in (
            (variant, home, seed) for home in table.homes for variant in variants for seed in table.seeds
        )
    }
    found = {name: _find(key, table, request, storage) for name, key in keys.items()}
    _check(table, request, found)  # before anything is trained for hours
    if request.partial:
        return found
    to_train = {}
    for name, key in keys.items():
        if found[name]:
            continue
        if not (needs := missing(table, name[0], key.data, lacking)):
            to_train[name] = key
        elif request.fresh and storage and (path := storage.path(key)).exists():
            # Else the table would lose it.
            raise MerError(
                f"{path}: --fresh cannot make it again without {needs}; name the folder, or leave --fresh out"
            )
    if table.select == selection.BEST_ON_VALIDATION:
        for key in to_train.values():
            _check_validates(key, request)
    for name, key in to_train.items():
        _train(training_overrides(key, request, table.select))
        found[name] = table_results.read_run(key, request.runs_dir, select=table.select)
        if found[name] is None:
            raise MerError(
                f"{key.folder(request.runs_dir)}: folds are missing after training; run the command again"
            )
    _check(table, request, found)
    for result in found.values():
        if not (storage and result) or result.record.synthetic:
            continue
        if result.where != storage.path(result.record.key):
            storage.write(result)
    return found


def _find(key: RunKey, table: Table, request: Request, storage: Storage | None) -> Result | None:
    result = table_results.read_run(key, request.runs_dir, select=table.select)
    if result is None and storage and not request.fresh:
        result = storage.read(key)
    if result is None and request.partial:
        result = table_results.read_run(key, request.runs_dir, select=table.select, partial=True)
    return result


def _check(table: Table, request: Request, found: Results) -> None:
    there = [result for result in found.values() if result]
    table_results.check_together(there)
    if request.stand_in:
        return
    for (_, home, _), result in found.items():
        if not (result and result.complete):
            continue
        databases = set(result.predictions["database"])
        for column in table.columns:
            if column.home == home and column.subset not in {ALL, *databases}:
                names = ", ".join(sorted(databases))
                raise MerError(
                    f"{result.where}: no database {column.subset}, as columns.{column.key} of {table.path} "
                    f"needs it; it holds {names}"
                )


def _check_validates(key: RunKey, request: Request) -> None:
    """Refuse before a training, not after it, what `mer.selection` would refuse."""
    overrides = ["--cfg", "job", *training_overrides(key, request, selection.BEST_ON_VALIDATION)]
    done = subprocess.run(
        [sys.executable, "-m", "mer.train", *overrides], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise MerError(
            f"`{' '.join(['mer train', *overrides])}` ended with code {done.returncode}, for the reason above"
        )
    config = yaml.safe_load(done.stdout)
    if not float(config["protocol"].get("validation", 0)) > 0:
        raise MerError(
            f"{key.experiment}/{key.variant}: keeps no validation subjects, which "
            f"select={selection.BEST_ON_VALIDATION} needs; set protocol.validation in its variant or "
            "experiment, to 0.2 for instance"
        )


def _train(overrides: Sequence[str]) -> None:
    line = " ".join(["mer train", *overrides])
    print(line, file=sys.stderr, flush=True)
    # Its error line and its bar go to the user as they are; standard output is the table's alone.
    done = subprocess.run([sys.executable, "-m", "mer.train", *overrides], stdout=2, check=False)
    if done.returncode:
        raise MerError(f"`{line}` ended with code {done.returncode}, for the reason above")


def training_overrides(key: RunKey, request: Request, select: str) -> list[str]:
    """What `mer train` is called with; a rule that compares epochs has all of them kept."""
    overrides = [
        f"experiment={key.experiment}",
        f"data={key.data}",
        f"protocol={key.protocol}",
        f"seed={key.seed}",
    ]
    if key.variant != BASE_VARIANT:
        overrides.insert(1, f"variant={key.experiment}/{key.variant}")
    if key.tag:
        overrides.append(f"tag={key.tag}")
    if select != selection.LAST:
        overrides.append("store=every_epoch")
    return [*overrides, *request.for_train]
