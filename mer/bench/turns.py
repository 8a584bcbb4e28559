"""Times of calls that are compared: all of them in turn, again and again, and the median of each."""

import statistics
import time
from collections.abc import Callable, Mapping


def in_turn(turns: Mapping[str, Callable[[], object]], repetitions: int = 5) -> dict[str, float]:
    """Median seconds of each call: what disturbs the machine for a while disturbs all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(repetitions):
        for name, call in turns.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}
