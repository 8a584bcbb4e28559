"""kill -9 at random moments, and start again: ``python -m tests.faults.kills --kills 50 --seed 0``.

Real `mer train` and `mer table` on drawn faces: one worker, two workers, all folds together with checkpoints,
and a table. Each is killed and started again until it is done, and killed some more. After each kill every
file that a reader opens is whole or absent; at the end the predictions are, byte for byte, those of a run
that nobody disturbed, and no fold that was finished before a kill was written again.

A kill comes a random while after the process has locked a fold or the cache, or in the moment in which a
temporary file appears. Python's start is most of a process's life and is aimed at rarely.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mer import runs
from mer.data.encoded import open_set
from tests import trust
from tests.faults.child import (
    FOLDS,
    TRAIN,
    end_group,
    finish,
    open_locks,
    run_of,
    start,
    wait_for,
    write_experiment,
)

RESULTS = ("predictions.parquet", "metrics.csv")
AIMS = ("random", "random", "random", "random", "file", "file", "leader", "start")


class Scenario(NamedTuple):
    """What is started, and how many folds it trains at a time."""

    name: str
    arguments: tuple[str, ...]
    together: int


SCENARIOS = (
    Scenario("one worker", (*TRAIN, "workers=1"), 1),
    Scenario("two workers", (*TRAIN, "workers=2"), 2),
    Scenario("ensemble", (*TRAIN, "engine=ensemble", "checkpoint_every=3"), len(FOLDS)),
    Scenario("table", ("table", "table.yaml", "workers=2", "device=cpu"), 2),
)


class Reference(NamedTuple):
    """What an undisturbed run leaves, and how long its parts take."""

    results: dict[str, bytes]
    encoding: float
    fold: float
    whole: float


@dataclass
class Tally:
    """What the kills came to."""

    phases: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0  # folds that were being trained at a kill: no other is done again
    finished: int = 0
    bytes: int = 0

    @property
    def kills(self) -> int:
        return self.phases.total()

    def __str__(self) -> str:
        phases = ", ".join(f"{number} {phase}" for phase, number in sorted(self.phases.items()))
        return (
            f"{self.kills} kills ({phases}); {self.in_flight} folds in flight, {self.finished} runs brought "
            f"to their end, {self.bytes} bytes of predictions and metrics equal"
        )


def results(run: Path) -> dict[str, bytes]:
    """The predictions and metrics of all folds."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for path in run.rglob("*")
        if path.name in RESULTS
    }


def make_reference(folder: Path, scenario: Scenario) -> Reference:
    """Run once, undisturbed."""
    begun = time.time()
    finish(folder, *scenario.arguments)
    whole = time.time() - begun
    run = run_of(folder)
    found = results(run)
    assert len(found) == len(FOLDS) * len(RESULTS)
    [encoded] = (folder / "cache" / "encoded").glob("[0-9a-f]*")
    # The lock is taken before the first image, about.json is written after the last.
    locked = encoded.with_name(f".{encoded.name}.lock").stat().st_mtime
    encoding = (encoded / "about.json").stat().st_mtime - locked
    ends = [path.stat().st_mtime for path in run.glob("fold-*/run.yaml")]
    training = max(ends) - (run / "plan.yaml").stat().st_mtime
    return Reference(found, encoding, training / len(FOLDS), whole)


def torture(folder: Path, scenario: Scenario, reference: Reference, kills: int, draw: random.Random) -> Tally:
    """Kill a scenario so many times, and let it end after them; its cache has the drawn faces."""
    tally, run = Tally(), run_of(folder)
    finished: dict[str, tuple[int, int]] = {}
    while True:
        enough = tally.kills >= kills
        before = scratches(folder)
        child = start(folder, *scenario.arguments)
        held = None if enough else strike(child, folder, reference, before, draw)
        if held is None:
            assert child.wait() == 0, (folder / "errors.txt").read_text()
        done = check_readable(run, folder / "cache")
        assert all(done.get(fold) == stamp for fold, stamp in finished.items()), "a finished fold was redone"
        finished = done
        if held is not None:
            phase, place = find_phase(scenario, scratches(folder) - before, held, done)
            tally.phases[phase] += 1
            trust.record("faults", f"kill -9 while {phase}", "survived", place)
            begun = [
                fold for fold in FOLDS if fold not in done and runs.fold_folder(run, fold) / "lock" in held
            ]
            assert len(begun) <= scenario.together
            tally.in_flight += len(begun)
            continue
        assert len(done) == len(FOLDS)
        assert results(run) == reference.results, "other bytes than those of the undisturbed run"
        assert not scratches(folder), "what was killed is left"
        if scenario.name == "table":
            [written] = (folder / "runs" / "tables").glob("*.md")
            assert written.read_bytes() == (folder / "output.txt").read_bytes()
        tally.finished += 1
        same = sum(map(len, reference.results.values()))
        trust.record("faults", "a run that was killed, brought to its end", "equal", amount=same)
        tally.bytes += same
        if enough:
            return tally
        # Once more from the start, with an empty cache; a table from finished runs too.
        if scenario.name != "table" or draw.random() < 0.5:
            shutil.rmtree(run)
            shutil.rmtree(folder / "cache" / "encoded")
            finished = {}


def strike(
    child: "subprocess.Popen[str]", folder: Path, reference: Reference, before: set[Path], draw: random.Random
) -> set[Path] | None:
    """Kill the child at a random moment; the locks that it held then, or None where it had ended before."""
    aim = draw.choice(AIMS)
    run = run_of(folder)
    if aim == "start" or all(runs.state(run, fold) == "done" for fold in FOLDS):
        time.sleep(draw.uniform(0, reference.whole / 2))
    else:
        held: set[Path] = set()
        while child.poll() is None and not held:
            held = open_locks(child.pid)
            time.sleep(0.02)
            held &= open_locks(child.pid)  # not a glance at whether a fold is being trained
        if aim == "file":
            skipped = draw.randrange(6)  # temporary files that are let pass
            seen = set(before)
            while child.poll() is None:
                new = scratches(folder) - seen
                seen |= new
                if new and (skipped := skipped - len(new)) < 0:
                    end_group(child)  # at once: it is being written for some milliseconds
                    return held
        elif child.poll() is None:
            encoding = any(path.parent.name == "encoded" for path in held)
            time.sleep(draw.uniform(0, reference.encoding if encoding else 1.5 * reference.fold))
    held = open_locks(child.pid)
    if child.poll() is not None:
        return None
    end_group(child, leader_only=aim == "leader")
    return held


def scratches(folder: Path) -> set[Path]:
    """Temporary files of the run, of the table and of the encoded sets."""
    run, encoded = run_of(folder), folder / "cache" / "encoded"
    half_sets = [path for path in encoded.glob(".*") if path.suffix != ".lock"]
    places = [*run.glob("fold-*"), run, folder / "runs" / "tables"]
    return {*half_sets, *(path for place in places for path in place.glob(".*.unfinished"))}


def find_phase(scenario: Scenario, new: set[Path], held: set[Path], done: Collection[str]) -> tuple[str, str]:
    """What the killed process was at, and the file that it was writing; ``new`` is what it left half."""
    for path in sorted(new):
        if path.suffix == ".unfinished":
            name = path.name.rsplit(".", 2)[0][1:]  # the rest is random
            name = "a checkpoint" if name.startswith("chunk-") else name
            return f"writing {name}", name
        return "encoding", "images.npy"
    if any(path.parent.name.startswith("fold-") for path in held):
        return "training", ""
    if len(done) == len(FOLDS):
        return ("tabling" if scenario.name == "table" else "drawing the results"), ""
    return "starting", ""


def check_readable(run: Path, cache: Path) -> dict[str, tuple[int, int]]:
    """Whatever a reader opens is whole or absent; finished folds, with inode and time of their run.yaml."""
    for folder in (cache / "encoded").glob("[0-9a-f]*"):
        assert open_set(folder) is not None, f"{folder}: a half set under its own name"
    for path in run.glob("chunk-*.pt"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    if not (run / "plan.yaml").exists():
        assert not list(run.glob("fold-*"))
        return {}
    plan = runs.read_plan(run)
    done = [fold for fold in plan.folds if runs.state(run, fold) == "done"]
    for fold in plan.folds:
        # A killed process may be gone for its parent while a thread of it still holds a lock.
        wait_for(lambda fold=fold: runs.state(run, fold) != "running")  # type: ignore[misc]
        why = runs.fold_folder(run, fold) / "failed.txt"
        assert runs.state(run, fold) in ("done", "missing"), why.read_text(encoding="utf-8")
    for fold in done:
        assert runs.read_record(run, fold)["fold"] == fold
        assert len(runs.read_metrics(run, fold)) == plan.config["epochs"]
    if done:
        assert set(runs.read_predictions(run, partial=True)["fold"]) == set(done)
    stats = {fold: (runs.fold_folder(run, fold) / "run.yaml").stat() for fold in done}
    return {fold: (stat.st_ino, stat.st_mtime_ns) for fold, stat in stats.items()}


def campaign(folder: Path, kills: int, seed: int, scenarios: Sequence[Scenario] = SCENARIOS) -> Tally:
    """Share the kills among scenarios; those that train in processes have one reference."""
    draw = random.Random(seed)
    references: dict[bool, Reference] = {}
    total = Tally()
    drawn = folder / "drawn"
    for number, scenario in enumerate(scenarios):
        place = write_experiment(folder / scenario.name.replace(" ", "-"))
        if drawn.exists():
            shutil.copytree(drawn, place / "cache" / "synthetic")
        together = scenario.name == "ensemble"
        if together not in references:
            references[together] = make_reference(place, scenario)
            shutil.rmtree(run_of(place))
            shutil.rmtree(place / "cache" / "encoded")
        if not drawn.exists():
            shutil.copytree(place / "cache" / "synthetic", drawn)
        mine = kills // len(scenarios) + (number < kills % len(scenarios))
        tally = torture(place, scenario, references[together], mine, draw)
        print(f"{scenario.name}: {tally}", flush=True)
        total.phases += tally.phases
        total.in_flight += tally.in_flight
        total.finished += tally.finished
        total.bytes += tally.bytes
    return total


def main() -> None:
    """Kill, and print what came of it."""
    parser = argparse.ArgumentParser(description="kill -9 at random moments, and start again")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS], help="one scenario")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in (None, scenario.name)]
    with tempfile.TemporaryDirectory() as folder:
        tally = campaign(Path(folder), options.kills, options.seed, chosen)
    print(f"all: {tally}")
    print(json.dumps({"seed": options.seed, "kills": tally.kills, "phases": dict(tally.phases)}))


if __name__ == "__main__":
    main()
