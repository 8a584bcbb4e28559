"""MEGC 2019: the 442 clips of CASME II, SAMM and SMIC-HS under three classes (See et al. 2019).

The list is derived from the three databases, each in its own folder:

- CASME II: disgust and repression are negative, happiness positive, and surprise; others, sadness and fear
  are left out, and so are the two clips without a usable apex. sub10 and sub18 vanish.
- SAMM: all but ``other``; happiness is positive, the rest but surprise negative. 025 vanishes.
- SMIC-HS: all clips.
"""

from pathlib import Path

import pandas as pd

from mer.data import casme2 as casme2_data
from mer.data import megc2019_uvos
from mer.data import samm as samm_data
from mer.data import smic as smic_data
from mer.data.clips import validate
from mer.data.database import DatabaseData
from mer.data.findings import Reading
from mer.data.label_sets import apply_labels, labels_of
from mer.data.roots import find_root
from mer.data.settle import corrections

PUBLISHED_COUNTS = megc2019_uvos.PUBLISHED_COUNTS
LABELS = "3class"  # the label set of each of the three databases that has these classes


def read_clips(
    *,
    casme2: str | Path | None = None,
    samm: str | Path | None = None,
    smic: str | Path | None = None,
    frames: str = "auto",
) -> Reading:
    """The clip table of MEGC 2019; its labels are the classes negative, positive and surprise.

    What the rules above leave out is no finding: ``PUBLISHED_COUNTS`` tells whether they were met.

    Args:
        casme2, samm, smic: the databases' folders; None looks at ``MER_ROOT_<DATABASE>`` and
            conf/roots.yaml.
        frames: ``cropped`` or ``original`` of all three; or ``auto``: in each, cropped where it is there.

    Returns:
        The table, and the findings of the three databases.

    Raises:
        MerError: a folder that is not known or not there, or one that cannot be read.
    """
    roots = {"casme2": casme2, "samm": samm, "smic": smic}
    readers = {
        "casme2": casme2_data.read_clips,
        "samm": samm_data.read_clips,
        "smic": smic_data.read_clips,
    }
    # All folders are looked for before any is read, which takes a while.
    folders = {
        database: find_root(database, root, key=f"data.clips.{database}") for database, root in roots.items()
    }
    tables, findings = [], []
    for database, folder in folders.items():
        reading = readers[database](folder, frames=frames)
        tables.append(apply_labels(reading.clips, *labels_of(database, LABELS), folder)[0])
        findings += reading.findings
    clips = pd.concat(tables, ignore_index=True)
    unusable = pd.MultiIndex.from_tuples([("casme2", *key) for key in without_apex()])
    kept = ~pd.MultiIndex.from_frame(clips[["database", "subject", "clip"]]).isin(unusable)
    return Reading(validate(clips[kept], "MEGC 2019"), findings)


def without_apex() -> list[tuple[str, str]]:
    """(subject, clip) of CASME II whose apex the project's corrections take away: no part of MEGC 2019.

    Not all whose apex is missing: later sheets lack apexes of clips that are part of it.
    """
    return [
        (fix["subject"], fix["clip"])
        for fix in corrections("casme2")
        if fix["column"] == "apex" and not fix["becomes"]
    ]


class MEGC2019DataModule(DatabaseData):
    """One fold of MEGC 2019; ``casme2``, ``samm`` and ``smic`` name the folders. See ``DatabaseData``."""

    database = "megc2019"
    has_root = False
    read_clips = staticmethod(read_clips)
