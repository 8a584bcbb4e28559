"""The 442 clips of MEGC 2019 as the 28x28 flow images that STSTNet's authors published.

Layout, the release's stray blank before ``.png`` included::

    <root>/<subject>/u_test/<label>/<subject>_<clip> .png      label: 0 negative, 1 positive, 2 surprise

Red is the horizontal TV-L1 flow u, green the vertical flow v, blue the optical strain, each min-max
scaled to 0..255. ``u_train`` holds every other subject's ``u_test`` again and is not read.
"""

import re
from pathlib import Path

import pandas as pd

from mer.data.clips import validate
from mer.data.database import DatabaseData
from mer.data.layout import check_name, subfolders
from mer.errors import MerError

LABELS = {"0": "negative", "1": "positive", "2": "surprise"}
# Clips a (database, label), and subjects: LAENet table 3 with CASME II's 88 disgust and repression.
PUBLISHED_COUNTS = {
    "casme2": {"negative": 88, "positive": 32, "surprise": 25, "subjects": 24},
    "samm": {"negative": 92, "positive": 26, "surprise": 15, "subjects": 28},
    "smic": {"negative": 70, "positive": 51, "surprise": 43, "subjects": 16},
}
_DATABASES = (("casme2", re.compile(r"sub\d+")), ("smic", re.compile(r"s\d+")), ("samm", re.compile(r"\d+")))


def read_clips(root: Path) -> pd.DataFrame:
    """The clip table of the published flow images, with the column ``image``.

    Frame numbers are not part of the release and stay missing.

    Raises:
        MerError: a folder or file that is not as in the release, naming it.
    """
    subjects = subfolders(root)
    if not any((subject / "u_test").is_dir() for subject in subjects):
        raise MerError(
            f"{root}: no <subject>/u_test folder; the root is the folder that holds 006, s01, sub01 and so on"
        )
    clips = pd.DataFrame([row for subject in subjects for row in _subject_rows(subject)])
    return validate(clips.reindex(columns=[*clips.columns, "onset", "apex", "offset", "fps"]), root)


class MEGC2019UVOSDataModule(DatabaseData):
    """One fold of the published flow images; ``encoding`` stays None."""

    database = "megc2019_uvos"
    read_clips = staticmethod(read_clips)


def _subject_rows(folder: Path) -> list[dict[str, str]]:
    database = next((name for name, pattern in _DATABASES if pattern.fullmatch(folder.name)), None)
    if database is None:
        raise MerError(
            f"{folder}: not a subject of the release (sub01 CASME II, s01 SMIC, 006 SAMM); move it away"
        )
    labels = sorted(path for path in (folder / "u_test").glob("[!.]*") if path.is_dir())
    rows = []
    for label in labels:
        if label.name not in LABELS:
            raise MerError(f"{label}: the label folders are 0 (negative), 1 (positive) and 2 (surprise)")
        for image in sorted(label.glob("[!.]*.[pP][nN][gG]")):
            prefix = f"{folder.name}_"
            check_name(image)
            if not image.is_file():
                raise MerError(f"{image}: no file; restore it or move it away")
            if not image.stem.startswith(prefix):
                raise MerError(f"{image}: expected a file name that begins with {prefix}")
            rows.append(
                {
                    "database": database,
                    "subject": folder.name,
                    "clip": image.stem.removeprefix(prefix).strip(),
                    "label": LABELS[label.name],
                    "image": str(image),
                }
            )
    if not rows:
        raise MerError(
            f"{folder}: a subject without images (u_test/0, 1, 2 hold *.png); restore them or remove it"
        )
    return rows
