"""Ways in which a disk, a copy or an editor damages a file."""

import random
from collections.abc import Iterator

KINDS = ("flipped byte", "missing bytes")


def damage(content: bytes, *, every: int = 1, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Kind and content of damaged copies of a file.

    Flips one bit of each ``every``-th byte, of the first 16 and of the last 16; leaves out the beginning, the
    middle or the end; and takes a block for zeros, as a file system does that lost it.
    """
    draw = random.Random(seed)
    size = len(content)
    places = {*range(0, size, every), *range(min(16, size)), *range(max(0, size - 16), size)}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        yield "flipped byte", bytes(changed)
    for start, stop in ((0, 0), (1, size), (0, size - 1), (0, size // 2), (size // 2, size)):
        if (left := content[start:stop]) != content:
            yield "missing bytes", left
    third = size // 3
    yield "missing bytes", content[:third] + content[2 * third :]
    yield "missing bytes", content[:third] + bytes(third) + content[2 * third :]
