"""The run folder: its path, lock, atomic writes, reads and completeness. The one owner of that contract.

::

    runs/<experiment>/<variant>[.<tag>]/<data>/<protocol>/seed-<s>/
        plan.yaml                    what decides the result, and every fold of the split
        fold-<database>.<subject>/
            predictions.parquet      one row a tested clip
            frames.parquet           one row a frame, and
            expressions.parquet      one row a true expression, where a run spots
            metrics.csv              one row an epoch
            run.yaml                 the record; written last, so its presence means finished
            failed.txt               why the last attempt ended, where there is no run.yaml

run.yaml holds the sha256 of every file of its fold, and the first line of run.yaml and of plan.yaml that of
what follows: a byte that is flipped or missing is an error that names the file and what to remove, never
another result. Folders that were written before these hashes are read without them.
"""

from mer.runs._fold import (
    State,
    check_file,
    claim,
    fail,
    failure,
    finish,
    fold_folder,
    read_metrics,
    read_record,
    read_records,
    state,
)
from mer.runs._plan import (
    BASE_VARIANT,
    NEUTRAL_KEYS,
    Plan,
    RunKey,
    find,
    finished_plan,
    flat,
    read_plan,
    start,
)
from mer.runs._predictions import KEY, read_predictions
from mer.runs._spotting import read_spotting, write_spotting

__all__ = [
    "BASE_VARIANT",
    "KEY",
    "NEUTRAL_KEYS",
    "Plan",
    "RunKey",
    "State",
    "check_file",
    "claim",
    "fail",
    "failure",
    "find",
    "finish",
    "finished_plan",
    "flat",
    "fold_folder",
    "read_metrics",
    "read_plan",
    "read_predictions",
    "read_record",
    "read_records",
    "read_spotting",
    "start",
    "state",
    "write_spotting",
]
