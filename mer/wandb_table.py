"""Logs a rendered table to Weights & Biases: one summary run a row, ours beside what the paper prints."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mer.table_cells import RowCells
from mer.table_file import Table, printed_number
from mer.wandb_names import JOB_TYPE, table_name
from mer.wandb_session import wandb_run


def log_rows(table: Table, rows: Sequence[RowCells], folder: Path, logger: Mapping[str, Any]) -> None:
    """Log each row: in the config what it is, in the summary its numbers by column.

    ``ours/<column>`` is the mean over seeds, ``spread/<column>`` their standard deviation, ``paper/<column>``
    as printed and ``difference/<column>``; what is not there is left out. Logging again replaces the rows.

    Args:
        table: as its file says.
        rows: its rows with their cells.
        folder: where W&B's files go, ``<folder>/wandb``.
        logger: see :func:`mer.wandb_session.wandb_run`.

    Raises:
        MerError: W&B failed.
    """
    for row in rows:
        label = row.row.label
        with wandb_run(
            folder / "wandb",
            logger,
            failure=f"{table.path}: the table is rendered, but W&B did not log its row {label!r}",
            id=row_id(table, label),
            name=label,
            group=table_name(table),
            job_type=JOB_TYPE,
            tags=("table", table_name(table)),
            config={
                "table": table_name(table),
                "title": table.title,
                "paper": table.paper.name if table.paper else None,
                "row": label,
                "variant": row.row.variant,
                "quoted": row.row.quote,
                "not_run": row.row.not_run,
                "partial": row.partial,
                "data": [data for data, _ in table.homes],
                "protocol": [protocol for _, protocol in table.homes],
                "seeds": list(table.seeds),
                "select": table.select,
            },
        ) as run:
            run.summary.update(numbers(table, row))


def numbers(table: Table, row: RowCells) -> dict[str, float]:
    """The numbers of a row, by ``<whose>/<column>``."""
    found: dict[str, float | None] = {}
    for column, cell in zip(table.columns, row.cells, strict=True):
        found[f"ours/{column.key}"] = float(np.mean(cell.scores)) if cell.scores else None
        found[f"spread/{column.key}"] = float(np.std(cell.scores, ddof=1)) if len(cell.scores) > 1 else None
        found[f"paper/{column.key}"] = printed_number(cell.paper) if cell.paper else None
        found[f"difference/{column.key}"] = cell.difference
    return {key: value for key, value in found.items() if value is not None}


def row_id(table: Table, label: str) -> str:
    """The id of a row's W&B run: 16 hex digits of what the row is."""
    text = json.dumps([table_name(table), label, table.homes, table.seeds, table.select])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
