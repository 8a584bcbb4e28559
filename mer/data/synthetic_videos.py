"""Drawn videos for spotting: when does an expression happen, beside what else moves in a face?

A subject is a drawn face, as in ``synthetic``. Most videos hold one expression, some two or three, some none.
In every one of them the eyes blink and the head nods or turns, at any time; the light drifts and the sensor
has noise. None of it knows the label or the time of an expression (``drawn_video``).

How hard it is was decided before any network was trained on it, and fixed: expressions of 2 to 3 px at size
112, nods and turns of 1 to 2 px that come and go within 3 to 12 frames, a blink or more. All that was looked
at was LBP feature difference, which is not trained and reads no label; its area under the ROC curve was to
lie between .65 and .90. With more noise or light, or weaker expressions, it is near chance, since the drawn
skin is smooth.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.data.clips import validate
from mer.data.drawn_clip import LABELS
from mer.data.drawn_face import Face, draw_face, draw_subject
from mer.data.drawn_video import FPS, Video, draw_video, render_video, shortest
from mer.data.findings import Reading
from mer.data.synthetic import read_table, write_images, write_once
from mer.errors import MerError
from mer.targets import check_keywords

FORMAT = 1  # raise it when the same parameters give other bytes
MOST = 3  # expressions of a long video


def write_synthetic_videos(
    root: Path | None = None,
    *,
    subjects: int = 8,
    clips_per_class: int = 3,
    still: int = 2,
    long: int = 1,
    size: int = 96,
    seed: int = 0,
    length: tuple[int, int] = (40, 90),
    long_length: tuple[int, int] = (180, 220),
    amplitude: tuple[float, float] = (2.0, 3.0),
    stray: float = 0.35,
    jitter: float = 0.04,
    noise: float = 0.3,
    blinks: float = 0.4,
    nods: float = 0.25,
    head: tuple[float, float] = (1.0, 2.0),
    light: float = 0.005,
) -> Path:
    """Write ``<root>/<subject>/<video>/img<frame>.png``, ``clips.csv``, ``still.csv`` and ``synthetic.json``.

    The same arguments give the same bytes, and a subject does not depend on how many there are. A tree
    that is already there under the same arguments is left alone; an unfinished one, or one of other
    arguments, is replaced.

    Args:
        root: the folder to write; None is one in ``cache_dir()`` that the parameters name.
        subjects: number of subjects.
        clips_per_class: videos with one expression, of each label and every subject.
        still: videos without any, of every subject.
        long: videos with two or three, of every subject.
        size: side of the square frames in pixels.
        seed: of everything random.
        length: range of the frames of a video, at 30 a second.
        long_length: the same of a long one.
        amplitude: range of the longest displacement at the apex, in pixels at size 112; 3 at most.
        stray, jitter: as in ``write_synthetic``.
        noise: standard deviation of the sensor noise, in greys.
        blinks: blinks a second, on average; each video has one at least.
        nods: nods and turns a second, on average; each video has one at least.
        head: range of the shift of one, in pixels at size 112.
        light: standard deviation of the size of the drift of the light, as a part of it.

    Returns:
        ``root``, absolute.

    Raises:
        MerError: a parameter is out of range, or ``root`` holds something that this function did not write.
    """
    # A config has lists.
    length, long_length = (int(length[0]), int(length[1])), (int(long_length[0]), int(long_length[1]))
    amplitude, head = (float(amplitude[0]), float(amplitude[1])), (float(head[0]), float(head[1]))
    parameters = {key: value for key, value in locals().items() if key != "root"}
    if min(subjects, clips_per_class) < 1 or min(still, long, seed) < 0 or size < 16:
        raise MerError(
            f"synthetic videos: bad parameters {parameters}: subjects and clips_per_class start at 1, still, "
            "long and seed at 0, size at 16"
        )
    if not 0 < amplitude[0] <= amplitude[1] <= 3 or not 0 <= head[0] <= head[1]:
        raise MerError(
            f"synthetic videos: bad parameters {parameters}: amplitude is two rising numbers in (0, 3], and "
            "head two from 0"
        )
    if not shortest(1) <= length[0] <= length[1] or not shortest(MOST) <= long_length[0] <= long_length[1]:
        raise MerError(
            f"synthetic videos: bad parameters {parameters}: length is two rising numbers from {shortest(1)}"
            f", long_length from {shortest(MOST)}"
        )
    drawing = {key: parameters[key] for key in parameters if key not in ("subjects", "size")}

    def write(folder: Path) -> None:
        clips: list[dict[str, object]] = []
        quiet: list[dict[str, object]] = []
        for subject in range(subjects):
            face, videos = draw_videos(subject, **drawing)
            faces = draw_face(face, size)
            for name, video in videos.items():
                place = folder / f"s{subject + 1:02d}" / name
                write_images(place, render_video(face, video, faces), video.first)
                rows = _rows(place.parent.name, name, video)
                (clips if video.expressions else quiet).extend(rows)
        columns = ["subject", "clip", "video", "label", "onset", "apex", "offset", "frames", "fps"]
        pd.DataFrame(clips, columns=columns).to_csv(folder / "clips.csv", index=False)
        pd.DataFrame(quiet, columns=["subject", "clip", "frames", "fps"]).to_csv(
            folder / "still.csv", index=False
        )

    text = json.dumps({"videos": FORMAT, **parameters}, indent=1)
    return write_once(root, "synthetic_videos", text, write)


def _rows(subject: str, name: str, video: Video) -> list[dict[str, object]]:
    """The rows of clips.csv, or of still.csv, that are of one video."""
    base = {"subject": subject, "video": name, "frames": video.last - video.first + 1, "fps": FPS}
    if not video.expressions:
        return [base | {"clip": name}]
    several = len(video.expressions) > 1
    return [
        base
        | {"clip": f"{name}_{number}" if several else name, "label": clip.label}
        # A face that has not moved yet, or no longer moves, is what an annotator calls neutral.
        | {"onset": clip.onset + 1, "apex": clip.apex, "offset": clip.offset - 1}
        for number, clip in enumerate(video.expressions, start=1)
    ]


def draw_videos(
    subject: int,
    *,
    clips_per_class: int,
    still: int,
    long: int,
    seed: int,
    length: tuple[int, int],
    long_length: tuple[int, int],
    **motion: Any,
) -> tuple[Face, dict[str, Video]]:
    """The face of the subject with this index, and its videos by name: what is known of the written frames.

    Args:
        subject: 0 is s01.
        clips_per_class, still, long, seed, length, long_length, motion: as in ``write_synthetic_videos``,
            which has the defaults.
    """
    looks, order = (np.random.default_rng((seed, subject, 0, stream)) for stream in (1, 12))
    face = draw_subject(looks)
    kinds = [
        *[((label,), length) for label in LABELS for _ in range(clips_per_class)],
        *[((), length)] * still,
        *[
            (tuple(order.permutation(LABELS)[: order.integers(2, MOST + 1)]), long_length)
            for _ in range(long)
        ],
    ]
    # Shuffled, so that the name of a video does not tell what is in it.
    shuffled = [kinds[place] for place in order.permutation(len(kinds))]
    return face, {
        f"v{number:02d}": draw_video(
            face, [str(label) for label in labels], (seed, subject, number), length=frames, **motion
        )
        for number, (labels, frames) in enumerate(shuffled, start=1)
    }


def read_clips(root: Path) -> Reading:
    """Read what ``write_synthetic_videos`` wrote.

    Returns:
        ``clips``: a row an expression, those of one video with its folder in ``frames``. ``still``: the
        videos without any. The database is "synthetic".

    Raises:
        MerError: ``root`` or a table is missing or of another version, or a video has lost frames.
    """
    root = Path(root).expanduser().absolute()
    clips, still = (read_table(root, name, "write_synthetic_videos") for name in ("clips.csv", "still.csv"))
    still.insert(0, "database", "synthetic")
    return Reading(validate(clips.assign(database="synthetic"), root / "clips.csv"), [], still=still)


def write_and_read(root: Path | None = None, **parameters: Any) -> Reading:
    """``write_synthetic_videos`` with its parameters and defaults, then ``read_clips``."""
    check_keywords(write_synthetic_videos, parameters, "data.clips")
    return read_clips(write_synthetic_videos(root, **parameters))
