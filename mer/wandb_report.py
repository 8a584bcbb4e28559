"""``mer wandb-report``: a W&B report that compares the papers, built from the table files."""

import argparse
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer import selection
from mer.errors import MerError
from mer.table_file import SCORES, Table, load_table, read_document
from mer.table_formats import SYNTHETIC_TITLE
from mer.table_results import SYNTHETIC
from mer.wandb_names import PROJECT, table_name

Report = Any  # wandb_workspaces.reports.v2.Report; the package is an extra

TITLE = "Micro-expression recognition: the papers, and the same tables run again"
INTRODUCTION = (
    "Each section is a table of a paper. Its rows are W&B runs that `mer table <file> logger=wandb` logs: "
    "`ours/...` is the mean over seeds of scores over the pooled predictions of all folds, `paper/...` as "
    "printed. Below them are the runs behind the rows, a (variant, seed) each."
)
WHOSE = ("ours", "paper")


def main(arguments: Sequence[str]) -> None:
    """Print the outline of the report; with ``--save``, send it to W&B.

    Raises:
        MerError: a table that cannot be read or shows no scores; no account, where it is to be saved.
    """
    parser = argparse.ArgumentParser(
        prog="mer wandb-report",
        description="A W&B report that compares tables, ours beside the papers'. Their rows are logged by "
        "`mer table <file> logger=wandb logger.mode=online`.",
    )
    parser.add_argument("tables", nargs="*", type=Path, help="table files; default: all under experiments/")
    parser.add_argument("--project", default=PROJECT, help=f"of W&B; default: {PROJECT}")
    parser.add_argument(
        "--entity", default=os.environ.get("WANDB_ENTITY", ""), help="of W&B; yours by default"
    )
    parser.add_argument("--save", action="store_true", help="send it to W&B, as a draft; needs an account")
    options = parser.parse_args(list(arguments))
    tables = [load_table(path) for path in options.tables] or score_tables(Path("experiments"))
    if not tables:
        raise MerError("experiments: no table of scores here; name table files")
    report = build(tables, project=options.project, entity=options.entity)
    for line in outline(report):
        print(line)
    if options.save:
        print(save(report))


def score_tables(folder: Path) -> list[Table]:
    """The tables of scores under a folder of experiments, one folder a paper."""
    paths = [path for path in sorted(folder.glob("*/*.yaml")) if path.stem != "print_check"]
    kinds = {path: read_document(path) for path in paths}
    return [
        load_table(path)
        for path, document in kinds.items()
        if isinstance(document, dict) and document.get("kind", SCORES) == SCORES
    ]


def build(tables: Sequence[Table], *, project: str, entity: str) -> Report:
    """The report of these tables; nothing is sent.

    Raises:
        MerError: wandb-workspaces is not installed.
    """
    reports, expr = _packages()
    blocks: list[Any] = [reports.P(INTRODUCTION), reports.TableOfContents()]
    for table in tables:
        blocks += _section(reports, expr, table, project, entity)
    return reports.Report(project=project, entity=entity, title=TITLE, blocks=blocks, width="fluid")


def outline(report: Report) -> list[str]:
    """The report's title, headings and panels, a line each."""
    lines = [report.title]
    for block in report.blocks:
        if heading := {"H1": "", "H2": "  "}.get(type(block).__name__):
            lines.append(f"{heading}{block.text}")
        for panel in getattr(block, "panels", ()):
            lines.append(
                f"    {type(panel).__name__}: {getattr(panel, 'title', None) or 'runs side by side'}"
            )
    return lines


def save(report: Report) -> str:
    """Send the report to W&B as a draft; returns its address.

    Raises:
        MerError: W&B refused it, for want of an account for instance.
    """
    try:
        report.save(draft=True)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise MerError(f"the report was not saved: {why}; `wandb login` first, and name --entity") from error
    return str(report.url)


def _section(reports: Any, expr: Any, table: Table, project: str, entity: str) -> list[Any]:
    """Heading, what it is, bars of each metric, the rows, and the runs behind them."""
    drawn = SYNTHETIC_TITLE if table.data == SYNTHETIC else ""
    leak = f" LEAK: {selection.describe(table.select)}." if table.select in selection.LEAKY else ""
    source = f"{table.paper.name}, table {table.paper.table}." if table.paper else "A table of our own."
    rows = reports.Runset(
        project=project,
        entity=entity,
        name=table_name(table),
        filters=expr.And(expr.Config("table") == table_name(table)),
    )
    variants = [row.variant for row in table.rows if row.variant]
    groups = sorted({variant if "/" in variant else f"{variant}/base" for variant in variants})
    behind = reports.Runset(
        project=project,
        entity=entity,
        name=f"{table_name(table)}: runs",
        filters=expr.And(expr.Metric("group").isin(groups)),
        groupby=["group"],
    )
    bars = [
        reports.BarPlot(
            title=f"{column.header}", metrics=[f"{whose}/{column.key}" for whose in WHOSE], groupby="row"
        )
        for column in table.columns
    ]
    parts = [
        reports.H2(f"{drawn}{table.title}"),
        reports.P(f"{source}{leak} Its file is experiments/{table_name(table)}.yaml."),
        reports.PanelGrid(runsets=[rows], panels=bars),
    ]
    if groups:
        curves = [
            reports.LinePlot(title=f"{name} by epoch, mean over folds", x="epoch", y=[f"{name}/mean"])
            for name in ("train_loss", "val_loss")
        ]
        parts.append(
            reports.PanelGrid(runsets=[behind], panels=[*curves, reports.RunComparer(diff_only="split")])
        )
    return parts


def _packages() -> tuple[Any, Any]:
    """Blocks and panels, and the filters of their runs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pydantic's, of wandb-workspaces 0.4.13
            from wandb_workspaces import expr
            from wandb_workspaces.reports import v2
    except ImportError as error:
        raise MerError(
            "mer wandb-report needs wandb-workspaces: pip install -c constraints.txt -e '.[reports]'"
        ) from error
    return v2, expr
