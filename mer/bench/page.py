"""``mer bench page``: runs the benchmarks and writes bench/README.md and docs/cost.md from their figures.

Each benchmark has a process of its own, and its figures a file in bench/results/: the pages are made from
these files alone, so they can be written again without measuring.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mer.atomic import write_text
from mer.bench import BENCHMARKS, MAX_LOAD, UNTIMED
from mer.bench.cost_page import cost_page
from mer.errors import MerError

FOLDER, COST = Path("bench"), Path("docs/cost.md")
COMMAND = ["-m", "mer.bench"]
LOOK_S = 2.0  # how long the machine is watched before each benchmark
PACKAGES = ("torch", "pytorch-lightning", "numpy", "pandas", "opencv-contrib-python", "numba")
TRIED = [
    "STSTNet and LAENet are trained with numba where it is installed (the extra `fast`), as by `make setup`.",
    "What else was tried on the training step of STSTNet and LAENet, and left, since on this kind of machine",
    "it brought a few percent or nothing: `torch.compile`; blocks of images whose maps stay in a core's",
    "cache; batch norm of the pooled maxima alone by torch's operations; huge pages; the convolution as a",
    "numba kernel.",
    "",
]
Result = dict[str, Any]


def write_pages(arguments: Sequence[str]) -> None:
    """Measure the benchmarks that are named (all by default; ``--stored`` none), and write both pages.

    Raises:
        MerError: an unknown benchmark, a machine that is busy (unless ``--busy``), or one that fails.
    """
    names = [argument for argument in arguments if not argument.startswith("-")]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise MerError(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if "--stored" not in arguments:
        for name in names or BENCHMARKS:
            measure(name, busy_is_fine="--busy" in arguments)
    results = stored()
    if not results:
        raise MerError(f"{FOLDER / 'results'}: no figures here; leave out --stored to measure them")
    write_text(FOLDER / "README.md", readme(results))
    print(f"written to {FOLDER / 'README.md'}", file=sys.stderr)
    if "cost" in results:
        COST.parent.mkdir(parents=True, exist_ok=True)
        try:
            page = cost_page(results["cost"], provenance(results["cost"]))
        except KeyError as error:
            raise MerError(
                f"{FOLDER / 'results/cost.json'}: {error} is not in it, which another version has "
                "measured; measure again with mer bench page cost"
            ) from error
        write_text(COST, page)
        print(f"written to {COST}", file=sys.stderr)


def measure(name: str, *, busy_is_fine: bool) -> None:
    """Run one benchmark in a process of its own and keep its figures.

    The load average still remembers the benchmark before this one, so the processors are looked at instead.
    """
    busy = busy_cores()
    if busy > MAX_LOAD and name not in UNTIMED and not busy_is_fine:
        raise MerError(
            f"{name}: {busy:.2f} of the {os.cpu_count()} cores are at work for others, above {MAX_LOAD}: "
            "the figures would be meaningless; stop them (--busy measures all the same); what was measured "
            "before is kept"
        )
    print(f"measuring {name}: {BENCHMARKS[name]}", file=sys.stderr, flush=True)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *COMMAND, name], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise MerError(f"{name}: the benchmark ended with {done.returncode}; what was measured is kept")
    result = {
        "bench": name,
        "busy_cores_before": round(busy, 2),
        "took_s": round(time.perf_counter() - start, 1),
        "machine": machine(),
        **json.loads(done.stdout.splitlines()[-1]),
    }
    path = FOLDER / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(result, indent=1) + "\n")


def busy_cores() -> float:
    """Cores at work while this process sleeps a moment."""

    def read() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]  # idle, and waiting for a disk

    total, idle = read()
    time.sleep(LOOK_S)
    after, idle_after = read()
    return (os.cpu_count() or 1) * (1 - (idle_after - idle) / max(1, after - total))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES if name != "numba" or find_spec("numba")},
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def stored() -> dict[str, Result]:
    """The figures that are kept, by benchmark, in the order of ``BENCHMARKS``.

    Raises:
        MerError: a file of figures cannot be read.
    """
    found = {}
    for name in BENCHMARKS:
        path = FOLDER / "results" / f"{name}.json"
        if path.exists():
            try:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise MerError(f"{path}: cannot be read ({error}); remove it and measure again") from error
    return found


def readme(results: dict[str, Result]) -> str:
    """bench/README.md."""
    lines = [
        "# Speed, as ratios to references",
        "",
        "Written by `mer bench page` (`make bench`) from the figures in `results/`; do not edit. Each figure",
        "is a median of repetitions in which reference and ours take turns, on an idle machine, in a process",
        "of its own.",
        "",
        *(f"- {line}" for line in _machines(results)),
        "",
        "| benchmark | what is compared | ratio | measured on | took |",
        "|---|---|---:|---|---:|",
    ]
    for name, result in results.items():
        ratio = "" if result["ratio"] is None else f"{result['ratio']:g}"
        took = f"{result['took_s']:.0f} s"
        lines.append(f"| `mer bench {name}` | {BENCHMARKS[name]} | {ratio} | {_when(result)} | {took} |")
    lines += [
        "",
        "Above 1, ours is better, but for: `memory` and `cost`, where 1 is no growth, `overhead`, where 1 is",
        "no overhead, and `roofline`, where 1 is the machine's limit.",
        "",
    ]
    for name, result in results.items():
        more = _roofline(result) if name == "roofline" else TRIED if name == "loso" else []
        lines += [f"## {name}", "", *more, *_figures(result), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _machines(results: dict[str, Result]) -> list[str]:
    return list(dict.fromkeys(provenance(result) for result in results.values()))


def provenance(result: Result) -> str:
    """One line: the machine and the versions of a result."""
    had = result["machine"]
    packages = ", ".join(f"{name} {had[name]}" for name in PACKAGES if name in had)
    hardware = f"{had['processor']}, {had['cores']} cores, {had['memory_gib']:g} GiB"
    return f"{hardware}; Python {had['python']}, {packages}"


def _when(result: Result) -> str:
    busy = result["busy_cores_before"]
    note = f", BUSY: {busy:g} cores at work for others" if busy > MAX_LOAD else ""
    return f"{result['machine']['date']}{note}"


def _roofline(result: Result) -> list[str]:
    lines = [
        f"One thread of this machine multiplies matrices at {result['gemm_gflops']:g} GFLOP/s and copies "
        f"{result['copy_gb_s']:g} GB/s.",
        f"A training step on {result['batch_size']} images, each operation reading and writing memory:",
        "",
    ]
    for name, step in result.items():
        if isinstance(step, dict) and "measured_ms" in step:
            lines.append(
                f"- {name}: {step['mflop']:g} MFLOP ({step['arithmetic_ms']:g} ms) and {step['mbytes']:g} MB "
                f"({step['traffic_ms']:g} ms), so {step['bound_by']} is its limit; it takes "
                f"{step['measured_ms']:g} ms, {step['measured_to_floor']:g} times the floor."
            )
    return [*lines, ""]


def _figures(result: Result) -> list[str]:
    """All figures of a benchmark, nested ones by their path."""
    hidden = {"bench", "machine", "took_s", "busy_cores_before"}
    shown = _flat({key: value for key, value in result.items() if key not in hidden})
    return ["| figure | value |", "|---|---:|", *(f"| {key} | {value} |" for key, value in shown.items())]


def _flat(value: Any, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        inside = {f"{path}.{key}" if path else str(key): each for key, each in value.items()}
        return {name: text for key, each in inside.items() for name, text in _flat(each, key).items()}
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return _flat({str(number): each for number, each in enumerate(value)}, path)
    if isinstance(value, list):
        return {path: " to ".join(map(str, value))}
    return {path: "" if value is None else str(value)}
