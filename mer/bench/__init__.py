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
    "apex": "frames between spotted and true apexes, against the middle frame",
}
UNTIMED = {"apex"}  # it measures no time, so a busy machine does not matter
MAX_LOAD = 0.3


def main(arguments: Sequence[str]) -> None:
    """Run one benchmark; the last line is one JSON object with ``ratio``.

    Raises:
        MerError: an unknown benchmark, or a busy machine.
    """
    names = [argument for argument in arguments if not argument.startswith("-")]
    if not names or set(arguments) & {"-h", "--help"}:
        listed = "\n".join(f"  {name}  {what}" for name, what in BENCHMARKS.items())
        print(
            f"usage: mer bench <name> [--busy]\n\n{listed}\n\n--busy measures on a busy machine, and says so"
        )
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
