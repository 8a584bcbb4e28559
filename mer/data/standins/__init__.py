"""Stand-ins: small databases of drawn faces in the exact layout of the licensed ones, quirks included.

One writer a database, ``write(root, full=False)``. A stand-in's folder holds ``SYNTHETIC.txt``: what is
computed from it says so in its title. ``full`` has as many clips of each label and subjects as published.
"""

from importlib import import_module
from pathlib import Path

from mer.errors import MerError

MARK = "SYNTHETIC.txt"


def names() -> list[str]:
    """The databases that have a stand-in."""
    return sorted(
        path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in ("__init__", "tree")
    )


def write_standin(database: str, root: Path, *, full: bool = False, size: int = 32) -> Path:
    """Write the stand-in of a database into an empty or missing folder.

    Args:
        database: one of :func:`names`.
        root: the folder that becomes the database's root.
        full: as many clips and subjects as published, in place of a handful.
        size: side of the face in the frames, in pixels.

    Raises:
        MerError: no such stand-in, or a folder that holds something.
    """
    if database not in names():
        raise MerError(f"{database}: no stand-in of this name; there are {', '.join(names())}")
    root = root.expanduser().absolute()
    if root.exists() and any(root.iterdir()):
        raise MerError(f"{root}: holds something already; give the stand-in an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    # First, so that a half-written tree says what it is too.
    (root / MARK).write_text(
        f"A stand-in of {database}: drawn faces in its layout. No results about people.\n"
    )
    import_module(f"mer.data.standins.{database}").write(root, full=full, size=size)
    return root


def is_standin(root: Path) -> bool:
    """Whether a folder is a stand-in, or lies in one."""
    return any((folder / MARK).is_file() for folder in (root.resolve(), *root.resolve().parents))
