"""``mer table``: a paper's table with ours beside it. No torch: training is another process."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from mer import table_needs
from mer.atomic import write_text
from mer.errors import MerError
from mer.runs import NEUTRAL_KEYS
from mer.table_cells import RowCells
from mer.table_file import SCORES, Table, load_table, read_document
from mer.table_formats import FORMATS, Sheet
from mer.table_rendering import all_cells, lay_out
from mer.table_results import SYNTHETIC, Storage
from mer.table_runs import Request, collect

KINDS = Path(__file__).parent / "table_kinds"


def main(arguments: Sequence[str]) -> None:
    """Render a table; train what is missing, unless ``--partial``.

    Raises:
        MerError: bad input, a failed training, or results that do not fit.
    """
    options = _parser().parse_intermixed_args(list(arguments))
    document = read_document(options.table)
    kind = document.get("kind", SCORES) if isinstance(document, dict) else SCORES
    rows: Rows | None = None
    if options.picture and (kind != SCORES or options.partial):
        raise MerError(
            "--picture: draws the scores of a whole table, and other kinds draw their own; leave it out"
        )
    if kind == SCORES:
        sheet, place, rows = _scores(load_table(options.table), options)
    else:
        sheet, place = _other(kind, document, options)
    text = FORMATS[options.format](sheet)
    if not options.partial:
        path = place.with_name(f"{place.name}.{options.format}")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        print(f"written to {path}", file=sys.stderr)
        if rows is not None:
            rows.log()
            if options.picture:
                rows.draw(place, sheet.title)
    print(text, end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer table",
        description="Render a paper's table with our results beside it: from the finished runs in runs_dir, "
        "else from the predictions stored beside the table, else `mer train` makes them. Where the data is "
        "missing, the cells say so. With logger=wandb each row is logged too, ours beside the paper's.",
        epilog="Overrides: data.root=, runs_dir=, workers=, device=, logger=, logger.*= as of `mer train`; "
        "seeds=0,1; data=<name> for a stand-in (goes to <runs_dir>/tables); tag=<name> for tagged runs. "
        "Tables of another kind than scores take their own; see mer/table_kinds.",
    )
    parser.add_argument("table", type=Path, help="the table's file, such as experiments/laenet/table4.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="see below")
    parser.add_argument(
        "--format", choices=list(FORMATS), default="md", help="Markdown (default), LaTeX with booktabs, CSV"
    )
    parser.add_argument(
        "--partial", action="store_true", help="print what is there; train, store and write nothing"
    )
    parser.add_argument(
        "--picture", action="store_true", help="draw the scores as bars, as PNG beside the table"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="do not use the predictions stored beside the table"
    )
    return parser


@dataclass(frozen=True)
class Rows:
    """The cells of a table of scores, to be logged and drawn."""

    table: Table
    cells: list[RowCells]
    request: Request

    def log(self) -> None:
        """Log each row to W&B, where `logger=wandb` asks for it."""
        logger = _logger(self.request)
        if logger.get("name") == "wandb":
            from mer.wandb_table import log_rows  # wandb takes a second to import

            log_rows(self.table, self.cells, self.request.runs_dir / "tables", logger)

    def draw(self, place: Path, title: str) -> None:
        """Write the table's bars beside it."""
        from mer.plots import save_figure  # matplotlib takes a while to import
        from mer.table_picture import table_figure

        picture = place.with_name(f"{place.name}.png")
        save_figure(table_figure(self.table, self.cells, title), picture)
        print(f"written to {picture}", file=sys.stderr)


def _scores(table: Table, options: argparse.Namespace) -> tuple[Sheet, Path, Rows]:
    """The sheet of a table of scores, where it goes, without suffix, and its cells."""
    asked, request = _request(table, options.overrides, partial=options.partial, fresh=options.fresh)
    lacking = _lacking(asked, request)
    # Another data, or runs that a user tagged, are not what this table's file describes; and drawn
    # faces are made again in a minute.
    own = not request.stand_in and table.data != SYNTHETIC and not request.tag
    storage = Storage(table.path.with_suffix(""), table.data, table.protocol, table.select) if own else None
    collected = collect(asked, request, storage, lacking)
    unrun = [asked.reads(variant, data) for (variant, (data, _), _), found in collected.items() if not found]
    for reason in dict.fromkeys(
        reason for names in unrun for data in names for reason in lacking.get(data, {}).values()
    ):
        print(f"not run: {reason}", file=sys.stderr)
    cells = all_cells(asked, collected, lacking)
    sheet = lay_out(asked, collected, lacking, _command(table, asked, request), cells)
    # Nor do stand-ins of the table's own data belong beside it.
    data = "" if own and not sheet.synthetic else asked.data
    place = _place(table.path, request.runs_dir, data, request.tag)
    return sheet, place, Rows(asked, cells, request)


def _logger(request: Request) -> dict[str, str]:
    """``logger=wandb`` and ``logger.<key>=...`` of the command line: rows are logged as their runs are."""
    given = dict(override.split("=", 1) for override in request.for_train if override.startswith("logger"))
    name = {"name": given.pop("logger")} if "logger" in given else {}
    return name | {key.removeprefix("logger."): value.strip("'\"") for key, value in given.items()}


def _other(kind: str, document: Mapping[str, Any], options: argparse.Namespace) -> tuple[Sheet, Path]:
    """The sheet of a table of another kind, and where it goes, without suffix; writes its figures."""
    path: Path = options.table
    there = sorted(file.stem for file in KINDS.glob("[a-z]*.py"))
    if kind not in there:
        raise MerError(f"{path}: kind={kind}: choose {', '.join([SCORES, *there])}")
    if options.fresh:
        raise MerError(f"--fresh: a table of kind {kind} trains nothing; leave it out")
    module = import_module(f"mer.table_kinds.{kind}")
    # A kind that stores what it counted does so unless nothing is to be written.
    lay_out_kind = module.lay_out if options.partial else getattr(module, "lay_out_and_store", module.lay_out)
    sheet: Sheet = lay_out_kind(document, path, options.overrides)
    given = {key: value.strip("'\"") for key, _, value in (each.partition("=") for each in options.overrides)}
    data = given.get("data", SYNTHETIC if sheet.synthetic else "")
    place = _place(path, Path(given.get("runs_dir", "runs")), data, given.get("tag", ""))
    if hasattr(module, "figures") and not options.partial:
        from mer.plots import save_figure  # matplotlib takes a while to import

        for name, figure in module.figures(document, path, options.overrides).items():
            picture = place.with_name(f"{place.name}{name.removeprefix(path.stem)}.png")
            save_figure(figure, picture)
            print(f"written to {picture}", file=sys.stderr)
    return sheet, place


def _place(path: Path, runs_dir: Path, data: str, tag: str) -> Path:
    """Beside the table's file, without suffix; what that file does not describe goes among the runs."""
    if not data and not tag:
        return path.with_suffix("")
    return runs_dir / "tables" / "-".join(filter(None, [_folder_name(path), path.stem, data, tag]))


def _request(table: Table, overrides: Sequence[str], *, partial: bool, fresh: bool) -> tuple[Table, Request]:
    """The table with the data and seeds that are asked for, and the rest."""
    own = {"data": table.data, "seeds": ",".join(map(str, table.seeds)), "tag": "", "runs_dir": "runs"}
    for_train = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key:
            raise MerError(f"{override}: expected key=value; {table.path} is the table")
        if key in own:
            own[key] = value.strip("'\"")
        elif key not in NEUTRAL_KEYS and not key.startswith("logger."):
            allowed = ", ".join(sorted({*own, *NEUTRAL_KEYS, "logger.*"}))
            raise MerError(
                f"{override}: a row's settings belong in a variant of its experiment; a table takes {allowed}"
            )
        if key in NEUTRAL_KEYS or key.startswith("logger."):
            for_train.append(override)
    try:
        seeds = tuple(int(seed) for seed in own["seeds"].split(","))
    except ValueError as error:
        raise MerError(f"seeds={own['seeds']}: whole numbers with commas, as in seeds=0,1") from error
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise MerError(f"seeds={own['seeds']}: different numbers from 0 are needed")
    if not own["data"] or "/" in own["data"] + own["tag"]:
        raise MerError(f"data={own['data']} tag={own['tag']}: a name is needed, without /")
    stand_in = own["data"] != table.data
    asked = replace(table.on(own["data"]) if stand_in else table, seeds=seeds)
    data = dict.fromkeys(name for name, _ in asked.homes)
    if len(data) > 1 and any(override.startswith("data.root=") for override in for_train):
        raise MerError(
            f"data.root= names one folder, and {table.path} shows {', '.join(data)}: "
            "set MER_ROOT_<DATABASE> of each, or write them into conf/roots.yaml"
        )
    request = Request(own["tag"], Path(own["runs_dir"]), tuple(for_train), partial, fresh, stand_in)
    return asked, request


def _lacking(table: Table, request: Request) -> dict[str, dict[str, str]]:
    """Data -> the databases that this machine lacks of it, and why."""
    names = dict.fromkeys(name for row in table.rows for name in row.needs)
    # Whether a folder that was given is right is said by `mer train`.
    if not any(override.startswith("data.root=") for override in request.for_train):
        names |= dict.fromkeys(data for data, _ in table.homes)
    found = {data: table_needs.lacking(data) for data in names}
    return {data: missing for data, missing in found.items() if missing}


def _command(table: Table, asked: Table, request: Request) -> str:
    words = ["mer table", f"experiments/{_folder_name(table.path)}/{table.path.name}"]
    if request.partial:
        words.append("--partial")
    if request.stand_in:
        words.append(f"data={asked.data}")
    if asked.seeds != table.seeds:
        words.append(f"seeds={','.join(map(str, asked.seeds))}")
    if request.tag:
        words.append(f"tag={request.tag}")
    data = asked.homes[0][0]
    one = all(name == data for name, _ in asked.homes)
    if one and data != SYNTHETIC and table_needs.takes_root(data):
        words.append(f"data.root=/path/to/{next(iter(table_needs.databases(data)), data)}")
    return " ".join(words)


def _folder_name(path: Path) -> str:
    return path.absolute().parent.name
