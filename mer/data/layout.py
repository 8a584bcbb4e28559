"""Where things lie below a database's root: the root may be the release's own folder or one around it."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from mer.data.frames import list_names
from mer.errors import MerError

DEPTH = 2  # folders below the root that are looked into: a release, and what it was unpacked into


def find_sheet(root: Path, patterns: Sequence[str], *, given: str | Path | None = None) -> Path:
    """The annotation file: ``given`` (absolute, or below the root), else the one that matches.

    Raises:
        MerError: there is none, or more than one.
    """
    if given:
        return below(root, given)
    found = [
        path
        for folder in _folders(root, DEPTH)
        for path in _entries(folder, files=True)
        if any(fnmatch(path.name.casefold(), pattern.casefold()) for pattern in patterns)
        and not path.name.startswith("~$")  # left by a spreadsheet program that has the file open
    ]
    if not found:
        raise MerError(
            f"{root}: no annotation file ({' or '.join(patterns)}); it comes with the database: put it "
            "there, or name it with data.clips.sheet="
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in found)
        raise MerError(f"{root}: {len(found)} annotation files ({names}); choose with data.clips.sheet=")
    return found[0]


def below(root: Path, given: str | Path) -> Path:
    """A path that an option gives, from the root; absolute, or from a home folder, where it says so.

    Raises:
        MerError: the home of a user who is unknown.
    """
    try:
        return root / Path(given).expanduser()
    except RuntimeError as error:
        raise MerError(f"{given}: no such user; write the path in full") from error


def find_frames(
    root: Path, layouts: Mapping[str, Sequence[str]], wanted: str = "auto", *, holding: str | None = None
) -> tuple[str, Path]:
    """The folder of frames: which layout, and where.

    Args:
        root: the database's folder.
        layouts: layout, such as ``cropped`` or ``original`` -> names of its folder, compared without case.
        wanted: a layout, or ``auto``: the first that is there.
        holding: pattern of a folder that must lie in it, such as a subject's: a root may have the same name.

    Raises:
        MerError: no such layout or no such folder, naming those that were looked for.
    """
    if wanted != "auto" and wanted not in layouts:
        raise MerError(f"data.clips.frames={wanted!r}: choose auto, {', '.join(layouts)}")
    tried = layouts if wanted == "auto" else {wanted: layouts[wanted]}
    folders = list(_folders(root, DEPTH))
    for layout, names in tried.items():
        for name in names:
            for folder in folders:
                if folder.name.casefold() == name.casefold() and (
                    holding is None or any(fnmatch(child.name, holding) for child in subfolders(folder))
                ):
                    # Archives are often unpacked into a folder of their own name.
                    inner = [child for child in subfolders(folder) if child.name == folder.name]
                    return layout, inner[0] if inner else folder
    names = [name for names in tried.values() for name in names]
    raise MerError(f"{root}: no folder of frames; looked for {', '.join(names)}: unpack the release there")


def subfolders(folder: Path, depth: int = 1) -> list[Path]:
    """The folders exactly ``depth`` levels below a folder, sorted; hidden ones are passed over."""
    level = [folder]
    for _ in range(depth):
        level = [child for parent in level for child in _entries(parent, files=False)]
    return level


def _folders(root: Path, depth: int) -> Iterator[Path]:
    """The root and the folders below it, level by level."""
    for level in range(depth + 1):
        yield from [root] if level == 0 else subfolders(root, level)


def _entries(folder: Path, *, files: bool) -> list[Path]:
    names = list_names(folder, lambda entry: entry.is_file() if files else entry.is_dir())
    found = [folder / name for name in names if not name.startswith("__MACOSX")]
    for path in found:
        check_name(path)
    return found


def check_name(path: Path) -> None:
    """Raise MerError where a path is not UTF-8: neither the clip table nor a result could hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise MerError(f"{path}: this name is not UTF-8; rename it, or move it away") from None
