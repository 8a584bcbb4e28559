"""Between the clip table and its encoded images: faces found, missing apexes spotted, and all of it told."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import pandas as pd
from torch import nn

from mer.data.apex_spotting import spot_missing
from mer.data.faces import Face, FaceOptions, locate_all
from mer.data.findings import Finding
from mer.data.videos import Videos
from mer.errors import MerError

Apex = Literal["labelled", "spot_missing", "spot_all"]


class Ready(NamedTuple):
    """Clips that can be encoded.

    Attributes:
        clips: the table, without clips whose face was not found, and with apexes where they are needed.
        faces: one a row, or None where frames are used as they are.
        findings: what was left out or filled in.
        spotted: clips whose apex was spotted.
        videos: what lies in them, where the clips are videos; as it was before a face was looked for.
    """

    clips: pd.DataFrame
    faces: list[Face] | None
    findings: list[Finding]
    spotted: int
    videos: Videos | None = None


def make_ready(
    clips: pd.DataFrame,
    encoding: nn.Module | None,
    *,
    faces: FaceOptions | None = None,
    apex: Apex = "spot_missing",
    progress: bool = True,
) -> Ready:
    """Find what an encoding needs beside the frames.

    Faces are looked for where frames are not cropped, where the encoding masks the eyes, and where an apex
    is to be spotted; an apex is spotted for encodings that read it.

    Args:
        clips: a validated clip table.
        encoding: a module of ``mer.encodings``; None for images that are already encoded.
        faces: how; None uses all frames as they are.
        apex: ``labelled``: a clip without one is an error where the encoding reads it; ``spot_missing``;
            ``spot_all``, the labelled ones too.
        progress: show bars.

    Raises:
        MerError: no face in any clip, an apex that is missing, or an unknown ``apex``.
    """
    if apex not in get_args(Apex):
        raise MerError(f"apex={apex!r}: choose {', '.join(get_args(Apex))}")
    if encoding is None or "frames" not in clips.columns:
        return Ready(clips, None, [], 0)
    reads_apex = encoding.reads == "onset_apex"
    if reads_apex and apex == "spot_all":
        clips = clips.assign(apex=pd.array([pd.NA] * len(clips), "Int64"))
    spots = reads_apex and bool(clips["apex"].isna().any())
    if spots and apex == "labelled":
        first = clips[clips["apex"].isna()].iloc[0]
        name = f"{first['database']}/{first['subject']}/{first['clip']}"
        others = int(clips["apex"].isna().sum()) - 1
        raise MerError(
            f"{first['frames']}: clip {name} has no apex, nor have {others} others, and this encoding needs "
            "it; label it, or give apex=spot_missing"
        )
    cropped = bool(clips["cropped"].all()) if "cropped" in clips.columns else True
    found: list[Face] | None = None
    findings: list[Finding] = []
    if faces is not None and (spots or encoding.masks_eyes or not (cropped or faces.method == "none")):
        found = locate_all(clips, faces, progress=progress)
        findings = _lost(clips, found)
        seen = [face.method != "not found" for face in found]
        if not any(seen):
            raise MerError(
                f"{clips['frames'].iloc[0]}: no face found in this clip, nor in any other; "
                "give faces.landmarks, or faces.method=none to use whole frames"
            )
        clips = clips[seen].reset_index(drop=True)
        found = [face for face, kept in zip(found, seen, strict=True) if kept]
    spotted = int(clips["apex"].isna().sum()) if spots else 0
    if spots:
        clips = spot_missing(clips, found, progress=progress)
    return Ready(clips, found, findings, spotted)


def _lost(clips: pd.DataFrame, faces: Sequence[Face]) -> list[Finding]:
    rows = zip(clips.itertuples(index=False), faces, strict=True)
    return [
        Finding(
            place=str(row.frames),
            clip=f"{row.database}/{row.subject}/{row.clip}",
            problem="no face found",
            outcome="left out",
            action="give its landmarks (faces.landmarks), or faces.method=none to use whole frames",
        )
        for row, face in rows
        if face.method == "not found"
    ]
