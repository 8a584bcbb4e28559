"""The tables below ``experiments/``, ours beside printed, as `mer table --partial` shows them.

Nothing is trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from mer import selection, table_needs, table_results
from mer.dashboard.printed_scores import PrintedScore, printed_scores
from mer.dashboard.run_data import Run
from mer.dashboard.stored_sheet import read_sheet
from mer.errors import MerError
from mer.runs import RunKey
from mer.table_cells import Results
from mer.table_file import SCORES, Table, load_table, read_document
from mer.table_formats import Sheet
from mer.table_rendering import all_cells, lay_out
from mer.table_results import SYNTHETIC, Result, Storage

# These render from results alone; the others import torch or read databases, and are shown as stored.
RENDERED_KINDS = ("confusion", "leakage", "spotting")


@dataclass(frozen=True)
class PaperTable:
    """A table file and what it shows.

    Attributes:
        paper: the folder's name.
        name: the file's, without suffix.
        sheet: None where it cannot be shown.
        stored: shown as its .md was written, not from today's runs.
        problem: why it is not shown.
        scores: its cells, of a table of scores.
    """

    paper: str
    name: str
    kind: str
    sheet: Sheet | None
    stored: bool = False
    problem: str = ""
    scores: list[PrintedScore] = field(default_factory=list)


def read_tables(experiments: Path, found: list[Run], runs_dir: Path) -> list[PaperTable]:
    """Every table below a folder, by paper and name.

    Args:
        experiments: holds ``<paper>/<table>.yaml``; need not exist.
        found: the runs, already read.
        runs_dir: where they lie.
    """
    by_folder = {run.folder: run for run in found}
    tables = []
    for path in sorted(experiments.glob("*/*.yaml")):
        try:
            document = read_document(path)
            if not isinstance(document, dict) or "title" not in document:
                continue  # what `mer check-print` reads
            kind = str(document.get("kind", SCORES))
        except MerError as error:
            tables.append(PaperTable(path.parent.name, path.stem, "?", None, problem=str(error)))
            continue
        tables.append(_read(path, kind, by_folder, runs_dir))
    return tables


def _read(path: Path, kind: str, by_folder: Mapping[Path, Run], runs_dir: Path) -> PaperTable:
    paper, name, stored = path.parent.name, path.stem, False
    scores: list[PrintedScore] = []
    try:
        if kind == SCORES:
            sheet, scores = _scores(load_table(path), by_folder, runs_dir)
        elif kind in RENDERED_KINDS:
            module = import_module(f"mer.table_kinds.{kind}")
            sheet = module.lay_out(read_document(path), path, [f"runs_dir={runs_dir}"])
        else:
            stored = True
            rendered = path.with_suffix(".md")
            if not rendered.exists():
                raise MerError(f"not rendered yet: mer table {path}")
            sheet = read_sheet(rendered)
    except MerError as error:
        return PaperTable(paper, name, kind, None, problem=str(error))
    except Exception as error:  # a table that cannot be shown must not hide the others
        return PaperTable(paper, name, kind, None, problem=f"{path}: {type(error).__name__}: {error}")
    return PaperTable(paper, name, kind, sheet, stored, scores=scores)


def _scores(table: Table, by_folder: Mapping[Path, Run], runs_dir: Path) -> tuple[Sheet, list[PrintedScore]]:
    """A table of scores: from complete runs, else from what lies beside it, else from what is there."""
    own = table.data != SYNTHETIC
    storage = Storage(table.path.with_suffix(""), table.data, table.protocol, table.select) if own else None
    results: dict[tuple[str, tuple[str, str], int], Result | None] = {}
    for home in table.homes:
        for variant in dict.fromkeys(row.variant for row in table.rows if row.variant):
            for seed in table.seeds:
                experiment, _, name = variant.partition("/")
                key = RunKey(experiment, name, home[0], home[1], seed)
                result = _result(key, table.select, by_folder, runs_dir)
                if (result is None or not result.complete) and storage:
                    result = storage.read(key) or result
                results[variant, home, seed] = result
    return _lay_out(table, results)


def _lay_out(table: Table, results: Results) -> tuple[Sheet, list[PrintedScore]]:
    table_results.check_together([result for result in results.values() if result])
    reads = dict.fromkeys(name for row in table.rows for name in row.needs)
    reads |= dict.fromkeys(data for data, _ in table.homes)
    lacking = {data: missing for data in reads if (missing := table_needs.lacking(data))}
    cells = all_cells(table, results, lacking)
    command = f"mer table experiments/{table.path.parent.name}/{table.path.name}"
    sheet = lay_out(table, results, lacking, command, cells)
    return sheet, list(printed_scores(table, cells, synthetic=sheet.synthetic))


def _result(key: RunKey, select: str, by_folder: Mapping[Path, Run], runs_dir: Path) -> Result | None:
    run = by_folder.get(key.folder(runs_dir))
    if run is None or run.plan is None or run.predictions is None:
        return None
    if select != selection.LAST:
        return table_results.read_run(key, runs_dir, select=select, partial=True)
    epochs = int(run.predictions["epoch"].max())
    record = table_results.make_record(key, run.folder, run.plan, run.records, epochs=epochs, select=select)
    return Result(run.folder, record, run.predictions, len(run.records))
