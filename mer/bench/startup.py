"""``mer bench startup``: how long the command line takes before it works, as a user waits for it.

Whole processes, in turn: a Python that does nothing, one that imports torch and Lightning, and ``mer`` with
verbs that need neither, on the finished runs of three rows, three seeds and 68 folds.
"""

import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from mer.bench import drawn_runs
from mer.bench.turns import in_turn

SIZE = {"rows": drawn_runs.ROWS, "seeds": drawn_runs.SEEDS, "folds": drawn_runs.FOLDS}
REPETITIONS = 7
MER = "from mer.cli import main; main()"  # as the console script has it
LIGHT = ("help", "status", "table")  # they must not import torch


def measure() -> dict[str, Any]:
    """Seconds of each; ``ratio`` is importing torch and Lightning to the slowest verb that needs neither."""
    with tempfile.TemporaryDirectory() as scratch:
        table = drawn_runs.write_runs(Path(scratch), **SIZE)
        runs_dir = Path(scratch) / "runs"
        lines = {
            "python": ["pass"],
            "torch_and_lightning": ["import torch, pytorch_lightning"],
            "help": [MER, "--help"],
            "status": [MER, "status", str(runs_dir)],
            "table": [MER, "table", str(table), f"runs_dir={runs_dir}", "--partial"],
            "train_help": [MER, "train", "--help"],
        }
        seconds = in_turn({name: partial(run_python, line) for name, line in lines.items()}, REPETITIONS)
    print(", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))
    slowest = max(seconds[name] for name in LIGHT)
    return {
        "ratio": round(seconds["torch_and_lightning"] / slowest, 2),
        **SIZE,
        **{f"{name}_s": round(value, 3) for name, value in seconds.items()},
    }


def run_python(line: list[str]) -> None:
    """``python -c`` in a process of its own; what it prints is not shown."""
    subprocess.run([sys.executable, "-c", *line], check=True, capture_output=True)
