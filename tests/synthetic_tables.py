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

from omegaconf import DictConfig, OmegaConf

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
SIDE, WIDTH = 16, 0.125  # of the small networks that have a size, or a width
STILL = 12  # frames before and after a clip in a recording
DRAWN: dict[str, Any] = {"subjects": 4, "clips_per_class": 1, "still": 1, "size": 32}
DRAWN |= {"length": [25, 30], "long_length": [65, 70]}
Run = tuple[str, Home]  # variant, data and protocol


def write_stand_ins(folder: Path, *, full: bool) -> None:
    """A stand-in of each database that is not there yet."""
    for name in DATABASES:
        if not (folder / name).exists():
            scratch = folder / f".{name}"
            shutil.rmtree(scratch, ignore_errors=True)
            standins.write_standin(name, scratch, full=full)
            if name == "casme2":
                add_recordings(scratch)
            scratch.rename(folder / name)


def add_recordings(root: Path) -> None:
    """CASME II's whole recordings, which its stand-in has not: each clip between still frames."""
    clips = root / "CASME2_RAW_selected"
    for folder in clips.glob("*/*"):
        frames = {int(path.stem.removeprefix("img")): path for path in folder.glob("img*.jpg")}
        whole = root / "CASME2-RAW" / folder.relative_to(clips)
        whole.mkdir(parents=True)
        for number in range(min(frames) - STILL, max(frames) + STILL + 1):
            shutil.copy(frames[min(max(number, min(frames)), max(frames))], whole / f"img{number}.jpg")


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
        small: :func:`small_settings`.

    Raises:
        MerError: the training failed.
    """
    variant, (data, protocol) = run
    experiment, _, name = variant.partition("/")
    overrides = [f"experiment={experiment}", f"data={data}", f"protocol={protocol}", f"seed={seed}"]
    overrides += [] if name == BASE_VARIANT else [f"variant={variant}"]
    overrides += [f"tag={tag}", f"runs_dir={runs_dir}", *more]
    cfg = config.compose(overrides)
    settings: dict[str, Any] = {"network.weights": None} if cfg.network.get("weights") else {}
    if cfg.encoding and "radius_t" in cfg.encoding:
        settings["encoding.radius_t"] = 1
    if small:
        settings |= small_settings(cfg)
    if cfg.init:
        *_, start, start_data, start_protocol, _ = Path(cfg.init).parts
        first: Run = (f"{experiment}/{start}", (start_data, start_protocol))
        settings["init"] = str(train_run(first, seed, tag, runs_dir, small=small).folder(runs_dir))
    for key, value in settings.items():
        OmegaConf.update(cfg, key, value)
    # Not through Hydra's own main, which composes the config twice more.
    place = RunKey(experiment, name, data, protocol, seed, tag)
    train.train_run(cfg, place, [*overrides, *(f"{key}={value}" for key, value in settings.items())])
    return place


def small_settings(cfg: DictConfig) -> dict[str, Any]:
    """What makes a run one epoch of two or three batches, on the smallest images that the network takes."""
    from tests.test_configs import SMALLEST

    # A pool of augmented images makes eight of one; MEGC 2019 is three stand-ins. A process of its own would
    # cost more than the fold.
    clips = 24 if cfg.data.name.startswith("megc2019") else 8
    settings: dict[str, Any] = {"epochs": 1, "batch_size": clips * (8 if cfg.augment else 1), "workers": 1}
    if isinstance(cfg.protocol.get("test"), float):
        settings["protocol.test"] = 0.3  # a tenth of four subjects is none
    kind = cfg.network._target_.rpartition(".")[2].lower()
    if "size" in cfg.network:
        side = SMALLEST.get(kind, SIDE)
        settings |= {"network.size": side, "encoding.size": side}
    elif "weights" in cfg.network:
        settings["encoding.size"] = SMALLEST.get(kind, 32)
    elif kind == "featuredifference":
        settings |= {"encoding.size": 32, "network.interval_seconds": 0.1}
    if "width" in cfg.network:
        settings["network.width"] = WIDTH
    # The leakage table reads every epoch; videos are scored after the last one only.
    settings |= {"task.pretrain_epochs": 0} if "pretrain_epochs" in cfg.task else {"store": "every_epoch"}
    if cfg.encoding and "warps" in cfg.encoding:
        settings |= {"encoding.warps": 1, "encoding.outer_iterations": 1}
    if "clips_per_class" in cfg.data.clips:  # drawn by its own config: no stand-in
        settings |= {f"data.clips.{name}": value for name, value in DRAWN.items() if name in cfg.data.clips}
    return settings


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
