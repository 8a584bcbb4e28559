"""A Lightning logger that keeps one row an epoch in memory."""

from typing import Any

import pandas as pd
from pytorch_lightning.loggers.logger import Logger


class EpochLog(Logger):
    """Collects what is logged once an epoch. Lightning's CSVLogger deletes older logs in its folder."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        """Lightning asks for it."""
        return "epoch_log"

    @property
    def version(self) -> int:
        """Lightning asks for it."""
        return 0

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The config is recorded in run.yaml."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Merge what one epoch logs in several calls (training, validation) into its row."""
        if "epoch" in metrics:
            row = self._rows.setdefault(int(metrics["epoch"]), {})
            row |= {name: float(value) for name, value in metrics.items() if name != "epoch"}

    def table(self) -> pd.DataFrame:
        """Columns epoch (1-based: the number of epochs trained) and whatever was logged."""
        return pd.DataFrame([{"epoch": epoch + 1, **row} for epoch, row in sorted(self._rows.items())])
