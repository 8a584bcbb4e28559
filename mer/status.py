"""``mer status``: which folds of each run are done, running, failed or missing. Imports no torch."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mer import runs
from mer.errors import MerError, in_one_line


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row a run, then why folds failed; with ``--missing`` the missing folds."""
    parser = argparse.ArgumentParser(
        prog="mer status", description="Which folds are done, missing or failed."
    )
    parser.add_argument("runs_dir", nargs="?", type=Path, default=Path("runs"), help="default: runs")
    parser.add_argument("--missing", action="store_true", help="list the missing folds")
    options = parser.parse_args(arguments)
    folders = runs.find(options.runs_dir)
    if not folders:
        print(in_one_line(f"{options.runs_dir}: no runs here"))
        return

    table = Table()
    table.add_column("run", no_wrap=True)
    for name in get_args(runs.State):
        table.add_column(name, justify="right")
    damaged, failed, missing = [], [], []
    for run in folders:
        name = run.relative_to(options.runs_dir).as_posix()
        try:
            folds = runs.read_plan(run).folds
        except MerError as error:
            damaged.append(str(error))
            table.add_row(Text(name), *["?"] * len(get_args(runs.State)))
            continue
        states = {fold: runs.state(run, fold) for fold in folds}
        counts = [list(states.values()).count(state) for state in get_args(runs.State)]
        table.add_row(Text(name), *(str(count) if count else "" for count in counts))
        failed += [
            f"{name} {fold} failed: {runs.failure(run, fold)}" for fold in folds if states[fold] == "failed"
        ]
        missing += [f"{name} {fold} is missing" for fold in folds if states[fold] == "missing"]
    _print_whole(table)
    for line in [*damaged, *failed, *(missing if options.missing else ())]:
        print(line)


def _print_whole(table: Table) -> None:
    """Print a table as wide as it is: in a file or a narrow terminal, no name is cut."""
    console = Console()
    wanted = console.measure(table, options=console.options.update(max_width=1000)).maximum
    console.width = max(console.width, wanted)
    console.print(table)
