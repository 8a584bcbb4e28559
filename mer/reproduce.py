"""``mer reproduce``: run a finished run again from its own record, and compare. No torch until it trains."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from mer import config, runs
from mer.errors import MerError
from mer.record import environment_notes, recorded_config
from mer.run_difference import Difference, compare
from mer.targets import TRUSTED

# What may differ from machine to machine; every other key is the record's.
MACHINE_KEYS = ("data.root", "faces.landmarks", "init", "workers", "device", "engine", "checkpoint_every")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run folds again and print how they differ; exit code 1 where they do.

    Raises:
        MerError: no run there, a record that cannot be run here, or a fold that failed.
    """
    options = _parser().parse_intermixed_args(arguments)
    then: Path = options.run
    folds = _folds(then, options.fold)
    records = list(runs.read_records(then, folds).values())
    record = records[0]
    where = str(runs.fold_folder(then, folds[0]) / "run.yaml")
    cfg, notes = recorded_config(record, where, trusted=[*TRUSTED, *options.trust])
    for override in options.overrides:
        _override(cfg, override)
    for note in [*environment_notes(records), *notes]:
        print(f"note: {note}")
    fresh = nullcontext(str(options.into)) if options.into else tempfile.TemporaryDirectory(prefix="mer-")
    with fresh as into:
        cfg.runs_dir = into
        now = _run(cfg, record, then, folds)
        difference = compare(then, now, folds)
        _print_table(then, now, folds, difference)
    print(difference.verdict(options.tolerance))
    if not difference.within(options.tolerance):
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer reproduce",
        description="Run a finished run again, from its own record alone, and compare: predictions, scored "
        "frames, training losses. The run folder is only read. Exit code 0 where they are the same.",
        epilog="example: mer reproduce runs/laenet/base/megc2019_uvos/loso/seed-0 --fold casme2/sub01 "
        "data.root=/data/megc2019_uvos",
    )
    parser.add_argument("run", type=Path, help="a run folder: .../seed-0")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help=f"what is this machine's: {', '.join(MACHINE_KEYS)}, data.clips.<key>",
    )
    parser.add_argument(
        "--fold",
        action="append",
        default=[],
        metavar="NAME",
        help="this fold only, as in casme2/sub01 or #0; may be given again (default: all that are finished)",
    )
    parser.add_argument(
        "--into",
        type=Path,
        help="a runs folder that keeps the repetition, and goes on after a stop (default: a temporary one)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-6,
        metavar="T",
        help="largest difference of a probability or score that passes (default: %(default)g); "
        "decisions must be the same",
    )
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="let the record name networks, readers and protocols of this package of yours",
    )
    return parser


def _folds(run: Path, asked: Sequence[str]) -> list[str]:
    """Names of the folds to run: those asked for, else all that are finished."""
    plan = runs.read_plan(run)
    finished = [fold for fold in plan.folds if runs.state(run, fold) == "done"]
    if not finished:
        raise MerError(f"{run}: no fold is finished, so there is nothing to compare with")
    chosen = []
    for name in asked:
        number = name.removeprefix("#")
        if name.startswith("#") and number.isdecimal() and int(number) < len(plan.folds):
            name = plan.folds[int(number)]
        if name not in finished:
            raise MerError(f"--fold {name}: not a finished fold of {run}; there are {', '.join(finished)}")
        chosen.append(name)
    return list(dict.fromkeys(chosen)) or finished


def _override(cfg: DictConfig, text: str) -> None:
    key, separator, value = text.partition("=")
    known = key in MACHINE_KEYS or (key.startswith("data.clips.") and "_target_" not in key)
    if not (separator and known):
        raise MerError(
            f"{text}: a repetition takes its config from the record; only what is this machine's can be "
            f"given: {', '.join(MACHINE_KEYS)}, data.clips.<key>"
        )
    OmegaConf.update(cfg, key, int(value) if value.isdecimal() else value, force_add=True)


def _run(cfg: DictConfig, record: Mapping[str, Any], then: Path, folds: Sequence[str]) -> Path:
    """Train the folds of a record; returns their run folder."""
    try:
        names = {name: str(record[name]) for name in ("experiment", "variant", "data", "protocol", "tag")}
        key = runs.RunKey(**names, seed=int(record["seed"]))
    except (KeyError, TypeError, ValueError) as error:
        raise MerError(f"{then}: its run.yaml does not say which run it is ({error})") from error
    folder = key.folder(Path(cfg.runs_dir))
    if folder.resolve() == then.resolve():
        raise MerError(f"--into {cfg.runs_dir}: there lies the run itself; name another folder")
    if already := sum(runs.state(folder, fold) == "done" for fold in folds):
        print(f"note: {already} of {len(folds)} folds were finished in {folder} before")
    train = _import_train()
    overrides = [str(override) for override in record.get("overrides") or []]
    whole = len(folds) == len(runs.read_plan(then).folds)
    try:
        for fold in ["all"] if whole else folds:
            cfg.fold = fold
            with redirect_stdout(sys.stderr):  # its scores are not what was asked for
                train(cfg, key, overrides)
    except Exception as error:
        if not config.is_config_error(error):
            raise
        raise MerError(
            f"{then}: this version cannot read its config ({config.explain(error)}); check out commit "
            f"{str(record.get('commit', 'unknown'))[:12]}"
        ) from error
    return folder


def _import_train() -> Callable[[DictConfig, runs.RunKey, Sequence[str]], Path]:
    from mer.train import train_run  # torch

    return train_run


def _print_table(then: Path, now: Path, folds: Sequence[str], difference: Difference) -> None:
    """What was compared, and how much of it is equal."""
    table = Table("compared", "equal", "largest difference", title=f"{then}: {len(folds)} folds again")
    contents = [runs.read_plan(run).content for run in (then, now)]
    same = contents[0] == contents[1]
    shown = contents[0][:8] if same else f"{contents[0][:8]} then, {contents[1][:8]} now"
    table.add_row(f"encoded data {shown}", "yes" if same else "no", "")
    old, new = (runs.read_record(run, folds[0]) for run in (then, now))
    old, new = ({**(record.get("build") or {}), **record} for record in (old, new))
    for name in ("device", "init_sha256", *(new.get("build") or ())):
        if name in old and old[name] != new.get(name):
            table.add_row(f"{name} {old[name]} then, {new.get(name)} now", "no", "")
    if difference.decisions:
        equal = f"{difference.decisions - difference.changed} of {difference.decisions}"
        table.add_row("decisions", equal, f"{difference.probability:.3g} of a probability")
    if difference.frames:
        table.add_row(f"scores of {difference.frames} frames", "", f"{difference.score:.3g}")
    for name, (equal_files, files) in difference.files.items():
        note = ""
        if name == "metrics.csv" and difference.epoch is not None:
            note = f"from epoch {difference.epoch} on"
        table.add_row(f"bytes of {name}", f"{equal_files} of {files}", note)
    Console(width=200).print(table)  # no name is cut in a narrow terminal
