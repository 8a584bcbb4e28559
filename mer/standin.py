"""``mer standin``: write a small database of drawn faces in the layout of a licensed one."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from mer.data import standins


def main(arguments: Sequence[str]) -> None:
    """Write a stand-in.

    Raises:
        MerError: an unknown database, or a folder that holds something.
    """
    parser = argparse.ArgumentParser(
        prog="mer standin",
        description="Write drawn faces in the exact layout of a licensed database, to try everything without "
        "it. What is computed from it is titled SYNTHETIC DATA.",
    )
    parser.add_argument("database", help=", ".join(standins.names()))
    parser.add_argument("root", type=Path, help="an empty folder; it becomes data.root")
    parser.add_argument("--full", action="store_true", help="as many clips and subjects as published")
    parser.add_argument("--size", type=int, default=32, help="side of the drawn face in pixels (default 32)")
    options = parser.parse_args(arguments)
    root = standins.write_standin(options.database, options.root, full=options.full, size=options.size)
    parts = [name for name in standins.names() if (root / name).is_dir()]  # of a composite
    given = {f"data.clips.{name}": root / name for name in parts} or {"data.root": root}
    # Hydra's grammar wants quotes around special characters, and so does the shell around those.
    plain = re.fullmatch(r"[\w./~-]+", str(root))
    where = " ".join(f"{key}={path}" if plain else f"'{key}=\"{path}\"'" for key, path in given.items())
    print(f"{root}: try `mer audit data={options.database} {where}`")
