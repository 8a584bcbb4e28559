"""Every table on drawn faces: the runs that its rows show, and how it is rendered from them.

`tests/tables_smoke.py` runs them small. Run as a program, all of it has its full size, for a longer day::

    python -m tests.synthetic_tables runs/synthetic-full [--tables laenet-table7] [--fold '#0']

Stand-ins with the published counts, all folds, the tables' seeds and the variants' epochs. What is finished
is not run again; what fails is told at the end. Networks of the zoo start from random weights, and LBP-TOP
takes one frame to both sides: the drawn clips are short.
"""

import argparse
import contextlib
import io
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer import config, table, train
from mer.data import standins
from mer.errors import MerError
from mer.runs import BASE_VARIANT, RunKey
from mer.table_file import SCORES, Home, load_table, read_document

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
TABLES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted(EXPERIMENTS.glob("*/*.yaml"))
    if path.stem != "print_check"
}
DATABASES = ("casme", "casme2", "casme_sq", "ckplus", "samm", "smic")
# Their sheets are of drawn faces; the others show networks and functions, which are the real ones.
OF_FACES = (SCORES, "confusion", "counts", "leakage", "spotting")
PUBLISHED_FLOW = "megc2019_uvos"
Run = tuple[str, Home]  # variant, data and protocol


def write_stand_ins(folder: Path, *, full: bool) -> None:
    """A stand-in of each database that is not there yet."""
    for name in DATABASES:
        if not (folder / name).exists():
            scratch = folder / f".{name}"
            shutil.rmtree(scratch, ignore_errors=True)
            standins.write_standin(name, scratch, full=full)
            scratch.rename(folder / name)


def roots(folder: Path) -> dict[str, str]:
    """The environment that names the stand-ins as the databases' folders."""
    return {
        f"MER_ROOT_{root.name.upper()}": str(root.absolute())
        for root in folder.iterdir()
        if root.name[0] != "."
    }


def kind_of(path: Path) -> str:
    """The kind of a table's file."""
    return str(read_document(path).get("kind", SCORES))


def seeds_of(path: Path) -> list[int]:
    """Those that the table's file asks for, or the tables that it shows."""
    document = read_document(path)
    if kind_of(path) == "confusion":
        sources = {matrix.get("predictions", document.get("predictions")) for matrix in document["matrices"]}
        return sorted({seed for name in sources for seed in seeds_of(path.parent / f"{name}.yaml")})
    return list(document.get("seeds", []))


def runs_of(path: Path) -> list[Run]:
    """The runs that a table shows, each once; none where it shows no run."""
    document, kind = read_document(path), kind_of(path)
    found: list[Run] = []
    if kind == SCORES:
        asked = load_table(path)
        found = [(row.variant, home) for home in asked.homes for row in asked.rows if row.variant]
    elif kind == "confusion":
        for matrix in document["matrices"]:
            source = load_table(
                path.parent / f"{matrix.get('predictions', document.get('predictions'))}.yaml"
            )
            home = (matrix.get("data", source.data), matrix.get("protocol", source.protocol))
            found.append((matrix["variant"], home))
    elif kind in ("leakage", "spotting"):
        homes = [_home(column, document) for column in document["columns"].values()]
        found = [(row["variant"], home) for home in homes for row in document["rows"] if "variant" in row]
    return list(dict.fromkeys(found))


def _home(column: dict[str, Any], document: dict[str, Any]) -> Home:
    return column.get("data", document["data"]), column.get("protocol", document["protocol"])


def train_run(
    run: Run, seed: int, tag: str, runs_dir: Path, *, more: Sequence[str] = (), small: bool = False
) -> RunKey:
    """Train a run, and before it the run that it starts from.

    Args:
        run: its variant, data and protocol.
        seed: its seed.
        tag: of the run folder: its settings are not quite those of the variant.
        runs_dir: where it goes.
        more: overrides of `mer train`, for this run alone.
        small: one epoch, of two batches or three, on the smallest images that the network takes.

    Raises:
        MerError: the training failed.
    """
    from tests.test_configs import SMALLEST

    variant, (data, protocol) = run
    experiment, _, name = variant.partition("/")
    overrides = [f"experiment={experiment}", f"data={data}", f"protocol={protocol}", f"seed={seed}"]
    overrides += [] if name == BASE_VARIANT else [f"variant={variant}"]
    overrides += [f"tag={tag}", f"runs_dir={runs_dir}"]
    cfg = config.compose(overrides)
    if small:
        overrides += [
            "epochs=1",
            f"batch_size={64 if cfg.augment else 8}",
            "workers=1",
        ]  # a pool makes 8 of 1
    if small and isinstance(cfg.protocol.get("test"), float):
        overrides.append("protocol.test=0.3")  # a tenth of four subjects is none
    if cfg.network.get("weights"):
        overrides.append("network.weights=null")
    if small and "weights" in cfg.network:
        kind = cfg.network._target_.rpartition(".")[2].lower()
        overrides.append(f"encoding.size={SMALLEST.get(kind, 32)}")
    if small and "size" in cfg.network:
        overrides += ["network.size=56", "encoding.size=56"]
    if cfg.encoding and "radius_t" in cfg.encoding:
        overrides.append("encoding.radius_t=1")
    if cfg.init:
        *_, start, start_data, start_protocol, _ = Path(cfg.init).parts
        first: Run = (f"{experiment}/{start}", (start_data, start_protocol))
        key = train_run(first, seed, tag, runs_dir, small=small)
        overrides.append(f"init={key.folder(runs_dir)}")
    train.main([*overrides, *more])
    return RunKey(experiment, name, data, protocol, seed, tag)


def render(path: Path, *arguments: str) -> str:
    """What `mer table` prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        table.main([str(path), *arguments])
    return out.getvalue()


def of_runs(path: Path, tag: str, seeds: Sequence[int], runs_dir: Path) -> list[str]:
    """The arguments that show these runs, also where folds are missing."""
    arguments = [f"runs_dir={runs_dir}"]
    if runs_of(path):
        arguments += [f"tag={tag}", f"seeds={','.join(map(str, seeds))}"]
    return [*arguments, "--partial"]


def main() -> None:
    """Run the tables at their full size."""
    parser = argparse.ArgumentParser(prog="python -m tests.synthetic_tables")
    parser.add_argument("folder", type=Path, help="where everything goes; git should ignore it")
    parser.add_argument("--tables", nargs="*", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--fold", default="all", help="all, or one, to try it")
    options = parser.parse_args()
    folder, tag = options.folder.absolute(), "full"
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    write_stand_ins(folder / "standins", full=True)
    os.environ.update(roots(folder / "standins"))
    failed = []
    for name in options.tables:
        path = TABLES[name]
        more: list[str] = []
        if kind_of(path) not in OF_FACES:
            continue
        for variant, (data, protocol) in runs_of(path):
            # The published flow images have no stand-in of their size: the same clips from frames.
            run = (variant, ("megc2019" if data == PUBLISHED_FLOW else data, protocol))
            store = "store=every_epoch" if kind_of(path) == "leakage" else "store=last"
            more = ["data=megc2019"] if data == PUBLISHED_FLOW else more
            for seed in seeds_of(path):
                try:
                    overrides = [f"fold='{options.fold}'", store]
                    train_run(run, seed, tag, folder / "runs", more=overrides)
                except MerError as error:
                    failed.append(f"{name}: {variant} on {data}, seed {seed}: {error}")
                    print(failed[-1], file=sys.stderr)
        try:
            text = render(path, *of_runs(path, tag, seeds_of(path), folder / "runs"), *more)
            (folder / "tables" / f"{name}.md").write_text(text, encoding="utf-8")
        except MerError as error:
            failed.append(f"{name}: {error}")
    print("\n".join([f"tables: {folder / 'tables'}", *failed]))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
