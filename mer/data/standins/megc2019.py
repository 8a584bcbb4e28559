"""A stand-in of MEGC 2019: those of its three databases, side by side."""

from pathlib import Path

from mer.data.standins import casme2, samm, smic


def write(root: Path, *, full: bool, size: int) -> None:
    """Write ``root/casme2``, ``root/samm`` and ``root/smic``; ``full`` has the published counts."""
    for database in (casme2, samm, smic):
        database.write(root / database.__name__.rpartition(".")[2], full=full, size=size)
