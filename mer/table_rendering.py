"""A table file and our results -> the sheet that is shown. No torch."""

from collections.abc import Mapping, Sequence

from mer import selection
from mer.print_notes import footnote_text
from mer.scores import ALL
from mer.table_cells import Lacking, Results, RowCells, flat_header, majority, partial_words, row_cells
from mer.table_comparisons import comparisons
from mer.table_file import Home, Table
from mer.table_formats import SYNTHETIC_TITLE, Grid, Marks, Sheet
from mer.table_results import SYNTHETIC, Result

DEFINITIONS = {
    "accuracy": "accuracy = correct clips / all clips",
    "f1": "F1-score = harmonic mean of macro precision and macro recall",
    "uf1": "UF1 = mean over classes of F1",
    "uar": "UAR = mean over classes of recall",
}
References = Mapping[Home, Result | None]


def all_cells(table: Table, results: Results, lacking: Lacking) -> list[RowCells]:
    """The cells of every row; the arguments are those of `lay_out`."""
    references = {home: _reference(results, home) for home in table.homes}
    return [row_cells(table, row, results, references, lacking) for row in table.rows]


def lay_out(
    table: Table, results: Results, lacking: Lacking, command: str, cells: Sequence[RowCells]
) -> Sheet:
    """Put the paper's numbers and ours side by side.

    Args:
        table: the paper's table, with the data and the seeds that ours ran on; see `Table.on`.
        results: by (variant, (data, protocol), seed); None where nothing has run.
        lacking: what this machine lacks; cells without a result say so.
        command: makes this table again.
        cells: of every row, from `all_cells`.
    """
    there = [result for result in results.values() if result]
    references = {home: _reference(results, home) for home in table.homes}
    marks = Marks()
    lines: list[list[str]] = []
    flat: list[list[str]] = []
    spread = len(table.seeds) > 1
    for of_row in cells:
        row = of_row.row
        notes = [footnote_text(table.path, note, table.footnotes[note], row.label) for note in row.notes]
        if row.not_run:
            notes.append(f"No run of ours: {row.not_run}.")
        if row.majority and any(references.values()):
            notes.append(f"Every clip is given the most frequent class, {_majorities(references)}.")
        label = " ".join([row.label, *(f"({marks.of(text)})" for text in notes)])
        lines += [[label if not number else "", *line] for number, line in enumerate(of_row.block(marks.of))]
        flat.append(of_row.flat(table.columns, spread=spread))
    synthetic = table.data == SYNTHETIC or any(result.record.synthetic for result in there)
    title, caption = _heading(table, partial_words(table, results, lacking), synthetic)
    return Sheet(
        title=title,
        caption=caption,
        grid=Grid(["method", "line", *(column.header for column in table.columns)], lines, left=2),
        footnotes=marks.listed(),
        how=[*_how(table, references, synthetic), *comparisons(table, results)],
        data=_data_grid(references),
        runs=_runs_grid(there, several=len(table.homes) > 1),
        command=command,
        flat=Grid(flat_header(table.columns, spread=spread), flat, left=3),
    )


def _reference(results: Results, home: Home) -> Result | None:
    """A complete result on this data, else any."""
    there = [result for (_, at, _), result in results.items() if at == home and result]
    return next((result for result in there if result.complete), there[0] if there else None)


def _majorities(references: References) -> str:
    classes = {home: majority(result) for home, result in references.items() if result}
    if len(set(classes.values())) == 1:
        return next(iter(classes.values()))
    return ", ".join(f"{name} of `{data}` ({protocol})" for (data, protocol), name in classes.items())


def _heading(table: Table, partial: str, synthetic: bool) -> tuple[str, str]:
    """Title and caption, with all that a reader of the numbers must know first."""
    printed = table.paper
    caption = f"{printed.name}, table {printed.table}: {printed.caption}" if printed else ""
    title = table.title
    if table.select != selection.LAST:
        ended = f"{caption}." if caption and not caption.endswith(".") else caption
        caption = f"{ended} Scores are counted {selection.describe(table.select)}.".strip()
    if table.select in selection.LEAKY:
        title = f"LEAK ({table.select}): {title}"
    if partial:
        title, caption = f"PARTIAL ({partial}): {title}", f"PARTIAL ({partial}). {caption}".strip()
    return (f"{SYNTHETIC_TITLE}{title}" if synthetic else title), caption


def _how(table: Table, references: References, synthetic: bool) -> list[str]:
    used = [metric for metric in DEFINITIONS if any(column.metric == metric for column in table.columns)]
    numbers = f"{'seed' if len(table.seeds) == 1 else 'seeds'} {', '.join(map(str, table.seeds))}"
    how = [
        f"{_homes(table)}{';' if len(table.homes) > 1 else ','} {numbers}.",
        f"Scores are counted over the pooled predictions of all folds, {selection.describe(table.select)}: "
        + "; ".join(DEFINITIONS[metric] for metric in used)
        + ".",
    ]
    if synthetic:
        how.append("Drawn faces: these numbers say nothing about people.")
    if len(table.seeds) > 1:
        how.append("Ours is the mean over the seeds ± their standard deviation (n - 1).")
    if any(column.interval for column in table.columns):
        of_mean = "of the mean, " if len(table.seeds) > 1 else ""
        how.append(
            f"[low, high] is the 95 % percentile bootstrap interval {of_mean}over subjects, of 2000 draws; "
            "numpy draws them (seed 0), and another version of it may draw others."
        )
    if any(row.paper for row in table.rows):
        how.append("The difference is ours - the paper's.")
    tags = dict.fromkeys(result.record.tag for result in references.values() if result)
    how += [f"Runs tagged `{tag}`: their settings need not be those of the variants." for tag in tags if tag]
    for column in {(column.home, column.subset): column for column in table.columns}.values():
        reference = references[column.home]
        if reference and reference.complete and column.subset != ALL:
            labels = set(
                reference.predictions.loc[reference.predictions["database"] == column.subset, "label"]
            )
            if labels and (none := [name for name in reference.record.classes if name not in labels]):
                how.append(f"`{column.subset}` holds no clip of {', '.join(none)}: its means leave them out.")
    return how


def _homes(table: Table) -> str:
    if len(table.homes) == 1:
        return f"Data `{table.homes[0][0]}`, protocol `{table.homes[0][1]}`"
    parts = []
    for home in table.homes:
        headers = ", ".join(column.header for column in table.columns if column.home == home)
        parts.append(f"{headers}: data `{home[0]}`, protocol `{home[1]}`")
    return "; ".join(parts)


def _data_grid(references: References) -> Grid:
    """Clips and subjects of each database; where there are several data, their classes are other ones."""
    there = {home: result for home, result in references.items() if result}
    several = len(references) > 1
    classes = [] if several else [name for result in there.values() for name in result.record.classes]
    grid = Grid(["database", "clips", "subjects", "folds", *classes])
    if several:
        grid = Grid(["data", "protocol", "database", "classes", "clips", "subjects", "folds"], left=4)
    for home, result in there.items():
        parts = [(str(name), part) for name, part in result.predictions.groupby("database")]
        if len(parts) > 1:
            parts.insert(0, (ALL, result.predictions))
        for name, part in parts:
            people = len(part.drop_duplicates(["database", "subject"]))
            sizes = list(map(str, [len(part), people, part["fold"].nunique()]))
            counts = {label: str(int((part["label"] == label).sum())) for label in result.record.classes}
            if several:
                words = ", ".join(f"{label} {count}" for label, count in counts.items())
                grid.lines.append([*home, name, words, *sizes])
            else:
                grid.lines.append([name, *sizes, *counts.values()])
    return grid


def _runs_grid(results: list[Result], *, several: bool) -> Grid:
    header = ["variant", *(["data", "protocol"] if several else []), "seed", "folds", "epochs"]
    header += ["training, s", "data content", "date", "commit", "uncommitted changes", "mer", "torch"]
    lines = [_run_line(result, several=several) for result in results]
    return Grid(header, lines, left=3 if several else 1)


def _run_line(result: Result, *, several: bool) -> list[str]:
    record = result.record
    commits = ", ".join(commit[:8] for commit in record.commit.split(", "))
    return [
        record.name,
        *([record.data, record.protocol] if several else []),
        str(record.seed),
        f"{result.folds_done}/{record.folds}",
        str(record.epochs),
        f"{record.seconds:.0f}",
        record.content[:8],
        record.date,
        commits,
        "yes" if record.dirty else "no",
        record.mer,
        record.torch,
    ]
