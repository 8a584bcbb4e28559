"""``mer bench <name>``: speed as a ratio to a reference that lies beside the benchmark."""

import json
import os
from collections.abc import Sequence
from importlib import import_module

from mer.errors import MerError

BENCHMARKS = {
    "loso": "seconds a fold-epoch against a plain PyTorch loop",
    "encode": "clips a second of each encoding, and sums of frames against NumPy's",
    "flow": "TV-L1 against known displacements, in pixels; many pairs at a time against one",
    "startup": "seconds until `mer` answers, against importing torch and Lightning",
    "table": "seconds to render a table of finished runs, against pandas and scikit-learn fold by fold",
    "memory": "memory after many folds to that after a few, and the peak of a run",
    "overhead": "the bare training loops of a LOSO to the whole `mer train` of it",
    "roofline": "a training step to the machine's limits of arithmetic and traffic",
    "cost": "how time and size grow with clips, image side, epochs and folds",
    "spotting": "a frame's score with the memory carried on, against 14 frames anew for each",
    "apex": "frames between spotted and true apexes, against the middle frame",
}
UNTIMED = {"apex"}  # it measures no time, so a busy machine does not matter
MAX_LOAD = 0.3
USAGE = """usage: mer bench <name> [--busy]
       mer bench page [<name>...] [--busy] [--stored]

{}

--busy measures on a busy machine, and says so. page measures all of them, or those that are named, one
after another, and writes bench/README.md and docs/cost.md; with --stored it measures nothing."""


def main(arguments: Sequence[str]) -> None:
    """Run one benchmark; the last line is one JSON object with ``ratio``.

    Raises:
        MerError: an unknown benchmark, or a busy machine.
    """
    names = [argument for argument in arguments if not argument.startswith("-")]
    if not names or set(arguments) & {"-h", "--help"}:
        width = max(map(len, BENCHMARKS))
        listed = "\n".join(f"  {name:<{width}}  {what}" for name, what in BENCHMARKS.items())
        print(USAGE.format(listed))
        return
    if names[0] == "page":
        from mer.bench.page import write_pages

        write_pages([argument for argument in arguments if argument != "page"])
        return
    if names[0] not in BENCHMARKS:
        raise MerError(f"no benchmark {names[0]!r}; there are {', '.join(BENCHMARKS)}")
    load = os.getloadavg()[0]
    busy = load > MAX_LOAD
    if busy and names[0] not in UNTIMED and "--busy" not in arguments:
        raise MerError(
            f"the load of this machine is {load:.2f}, above {MAX_LOAD}: a neighbour makes threads spin and "
            "the figures meaningless; stop it and wait a minute (--busy measures all the same)"
        )
    result = import_module(f"mer.bench.{names[0]}").measure()
    state = {"load_before": round(load, 2), **({"busy": True} if busy else {})}
    print(json.dumps({"bench": names[0], **state, **result}))
