"""``mer encode``: make the encoded set of a config ahead of a run, with a progress bar."""

import time
from collections.abc import Sequence

from mer import config
from mer.prepare import prepare

USAGE = """usage: mer encode [overrides of `mer train`]

Reads, crops and encodes a database into the cache (MER_CACHE, else ~/.cache/mer), so that runs find it there.

  mer encode data=casme2 data.root=/path/to/casme2 encoding=dynamic_image"""


def main(arguments: Sequence[str]) -> None:
    """Encode, and say where the set lies.

    Raises:
        MerError: bad input, as in `mer train`.
    """
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return
    cfg = config.compose(arguments)
    start = time.perf_counter()
    prepared = prepare(cfg)
    images = prepared.encoded.images
    size = " x ".join(map(str, images.shape))
    kind = str(images.dtype).removeprefix("torch.")
    print(f"{prepared.encoded.folder}: {len(prepared.clips)} clips, {size} {kind}")
    print(f"sha256 {prepared.encoded.content}, {time.perf_counter() - start:.1f} s")
