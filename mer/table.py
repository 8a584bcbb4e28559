"""``mer table``: a paper's table with ours beside it. No torch: training is another process."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mer import table_results
from mer.atomic import write_text
from mer.errors import MerError
from mer.runs import BASE_VARIANT, NEUTRAL_KEYS, RunKey
from mer.scores import ALL
from mer.table_file import Table, load_table
from mer.table_rendering import lay_out, to_markdown
from mer.table_results import SYNTHETIC, Result


@dataclass(frozen=True)
class Request:
    """What was asked for: whose results, from where."""

    data: str
    seeds: tuple[int, ...]
    tag: str
    runs_dir: Path
    for_train: tuple[str, ...]  # overrides that `mer train` gets as they are
    partial: bool
    fresh: bool

    def key(self, variant: str, seed: int, protocol: str) -> RunKey:
        """The run of a row."""
        experiment, name = variant.split("/")
        return RunKey(experiment, name, self.data, protocol, seed, self.tag)


def main(arguments: Sequence[str]) -> None:
    """Render a table; train what is missing, unless ``--partial``.

    Raises:
        MerError: bad input, a failed training, or results that do not fit.
    """
    options = _parser().parse_intermixed_args(list(arguments))
    table = load_table(options.table)
    request = _request(table, options.overrides, partial=options.partial, fresh=options.fresh)
    # Another data, or runs that a user tagged, are not what this table's file describes; and drawn
    # faces are made again in a minute.
    beside = request.data == table.data != SYNTHETIC and not request.tag
    collected = _collect(table, request, table.path.with_suffix("") if beside else None)
    markdown = to_markdown(lay_out(table, collected, request.data, request.seeds, _command(table, request)))
    # Nor do stand-ins of the table's own data belong beside it.
    beside = beside and not any(result.record.synthetic for result in collected.values() if result)
    if not request.partial:
        path = table.path.with_suffix(".md")
        if not beside:
            name = "-".join(
                [_folder_name(table), table.path.stem, request.data, *filter(None, [request.tag])]
            )
            path = request.runs_dir / "tables" / f"{name}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, markdown)
        print(f"written to {path}", file=sys.stderr)
    print(markdown, end="")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer table",
        description="Render a paper's table with our results beside it: from the finished runs in runs_dir, "
        "else from the predictions stored beside the table, else `mer train` makes them.",
        epilog="Overrides: data.root=, runs_dir=, workers=, device=, logger=, logger.*= as of `mer train`; "
        "seeds=0,1; data=<name> for a stand-in (goes to <runs_dir>/tables); tag=<name> for tagged runs.",
    )
    parser.add_argument("table", type=Path, help="the table's file, such as experiments/laenet/table4.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="see below")
    parser.add_argument(
        "--partial", action="store_true", help="print what is there; train, store and write nothing"
    )
    parser.add_argument(
        "--fresh", action="store_true", help="do not use the predictions stored beside the table"
    )
    return parser


def _request(table: Table, overrides: Sequence[str], *, partial: bool, fresh: bool) -> Request:
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
    return Request(own["data"], seeds, own["tag"], Path(own["runs_dir"]), tuple(for_train), partial, fresh)


def _collect(table: Table, request: Request, beside: Path | None) -> dict[tuple[str, int], Result | None]:
    """The result of every run that the table names; those of runs are stored in ``beside``."""
    variants = dict.fromkeys(row.variant for row in table.rows if row.variant)
    keys = {
        (variant, seed): request.key(variant, seed, table.protocol)
        for variant in variants
        for seed in request.seeds
    }
    found = {name: _find(key, request, beside) for name, key in keys.items()}
    _check(table, request, found)  # before anything is trained for hours
    if request.partial:
        return found
    for name, key in keys.items():
        if found[name] is None:
            _train(key, request)
            found[name] = table_results.read_run(key, request.runs_dir)
            if found[name] is None:
                raise MerError(
                    f"{key.folder(request.runs_dir)}: folds are missing after training; run the command again"
                )
    _check(table, request, found)
    for result in found.values():
        if not (beside and result) or result.record.synthetic:
            continue
        if result.where != table_results.stored_path(beside, result.record.key):
            table_results.store(beside, result)
    return found


def _find(key: RunKey, request: Request, beside: Path | None) -> Result | None:
    result = table_results.read_run(key, request.runs_dir)
    if result is None and beside and not request.fresh:
        result = table_results.read_stored(beside, key)
    if result is None and request.partial:
        result = table_results.read_run(key, request.runs_dir, partial=True)
    return result


def _check(table: Table, request: Request, found: dict[tuple[str, int], Result | None]) -> None:
    there = [result for result in found.values() if result]
    table_results.check_together(there)
    if request.data != table.data:
        return
    for result in there:
        databases = set(result.predictions["database"])
        for column in table.columns:
            if result.complete and column.subset not in {ALL, *databases}:
                names = ", ".join(sorted(databases))
                raise MerError(
                    f"{result.where}: no database {column.subset}, as columns.{column.key} of {table.path} "
                    f"needs it; it holds {names}"
                )


def _train(key: RunKey, request: Request) -> None:
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
    overrides += request.for_train
    line = " ".join(["mer train", *overrides])
    print(line, file=sys.stderr, flush=True)
    # Its error line and its bar go to the user as they are; standard output is the table's alone.
    done = subprocess.run([sys.executable, "-m", "mer.train", *overrides], stdout=2, check=False)
    if done.returncode:
        raise MerError(f"`{line}` ended with code {done.returncode}, for the reason above")


def _command(table: Table, request: Request) -> str:
    words = ["mer table", f"experiments/{_folder_name(table)}/{table.path.name}"]
    if request.partial:
        words.append("--partial")
    if request.data != table.data:
        words.append(f"data={request.data}")
    if request.seeds != table.seeds:
        words.append(f"seeds={','.join(map(str, request.seeds))}")
    if request.tag:
        words.append(f"tag={request.tag}")
    if request.data != SYNTHETIC:
        words.append(f"data.root=/path/to/{request.data}")
    return " ".join(words)


def _folder_name(table: Table) -> str:
    return table.path.absolute().parent.name
