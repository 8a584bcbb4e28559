"""Scored frames and true expressions -> scores of spotting, for all videos and each database. No torch.

The tables are those of a run (`mer.runs.read_spotting`): frames has one row a frame of each video, with
``score`` and whether it lies ``inside`` an expression; expressions has one row an expression of the type
that is spotted. Others, such as macro-expressions, are in neither: spotting one is a false alarm.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import spotting_metrics
from mer.errors import MerError
from mer.scores import ALL

VIDEO = ["database", "subject", "video"]
FRAMES = [*VIDEO, "frame", "fps", "inside", "score"]
EXPRESSIONS = [*VIDEO, "onset", "offset"]


@dataclass(frozen=True, kw_only=True)
class SpotOptions:
    """How a curve becomes intervals, and when one is a hit; see `mer.spotting_metrics.spot` and ``match``.

    Attributes:
        threshold: least height of a peak: absolute, or with ``relative`` p of mean + p (max - mean) of the
            video's own curve (Moilanen et al. 2014), for scores that have no scale of their own.
        relative: see ``threshold``. Every video then has a peak, also one without an expression.
        smoothing: length of the window of the moving mean, in ``unit``; 0 for none.
        reach: how far down its prominence a peak's interval goes, between 0 and 1.
        least: an interval that lasts less is left out, in ``unit``.
        greatest: one that lasts more, too: a micro-expression lasts half a second at most.
        unit: ``seconds``, by each video's fps; or ``frames``.
        least_iou: of a hit.
    """

    threshold: float = 0.5
    relative: bool = False
    smoothing: float = 0.1
    reach: float = 0.75
    least: float = 0.04
    greatest: float = 0.5
    unit: str = "seconds"
    least_iou: float = 0.5

    def __post_init__(self) -> None:
        numbers = (self.threshold, self.smoothing, self.reach, self.least, self.greatest, self.least_iou)
        if any(isinstance(number, bool) or not isinstance(number, (int, float)) for number in numbers):
            raise MerError(f"spot: {self}: numbers are needed")
        if not isinstance(self.relative, bool):
            raise MerError(f"spot.relative={self.relative}: true or false is needed")
        if self.unit not in ("seconds", "frames"):
            raise MerError(f"spot.unit={self.unit}: choose seconds or frames")
        if not np.isfinite(self.threshold):
            raise MerError(f"spot.threshold={self.threshold}: a number is needed")
        if not 0 <= self.least <= self.greatest:
            raise MerError(f"spot.least={self.least}, greatest={self.greatest}: 0 <= least <= greatest")
        if not (np.isfinite(self.smoothing) and self.smoothing >= 0):
            raise MerError(f"spot.smoothing={self.smoothing}: 0 or more is needed")
        if not 0 < self.reach < 1:
            raise MerError(f"spot.reach={self.reach}: between 0 and 1 is needed")
        if not 0 < self.least_iou <= 1:
            raise MerError(f"spot.least_iou={self.least_iou}: above 0 and up to 1 is needed")

    def words(self) -> str:
        """The rule in one sentence, without its full stop."""
        height = f"{self.threshold:g}"
        if self.relative:
            height = f"mean + {self.threshold:g} (max - mean) of the video's own curve"
        unit = "s" if self.unit == "seconds" else "frames"
        return (
            f"a peak of the curve (moving mean of {self.smoothing:g} {unit}) at or above {height}, down to "
            f"{self.reach:g} of its prominence, of {self.least:g} to {self.greatest:g} {unit}; "
            f"a hit has an IoU of {self.least_iou:g} or more"
        )


def usual_options(
    frames: pd.DataFrame, *, relative: bool = False, threshold: float = SpotOptions.threshold
) -> SpotOptions:
    """The default rule, by the rate of the frames; where one is not known, that of 200 frames a second."""
    usual = SpotOptions(relative=relative, threshold=threshold)
    if frames["fps"].notna().all():
        return usual
    lengths = {name: 200 * getattr(usual, name) for name in ("smoothing", "least", "greatest")}
    return replace(usual, unit="frames", **lengths)


def spotted(frames: pd.DataFrame, options: SpotOptions | None = None) -> pd.DataFrame:
    """The intervals that the curves of all videos spot.

    Args:
        frames: database, subject, video, frame, fps, inside, score.
        options: the rule; `SpotOptions` by default.

    Returns:
        database, subject, video, onset, offset, by video and onset; the frame numbers are included.

    Raises:
        MerError: as `scores`.
    """
    options = options or SpotOptions()
    parts = [
        pd.DataFrame({**dict(zip(VIDEO, name, strict=True)), "onset": found[:, 0], "offset": found[:, 1]})
        for name, video in _videos(check_frames(frames))
        for found in [_spot(name, video, options)]
        if len(found)
    ]
    if not parts:
        return pd.DataFrame({column: pd.Series(dtype="int64") for column in EXPRESSIONS})[EXPRESSIONS]
    return pd.concat(parts, ignore_index=True)


def scores(
    frames: pd.DataFrame, expressions: pd.DataFrame, options: SpotOptions | None = None
) -> pd.DataFrame:
    """Scores of one run at one epoch, pooled over its videos.

    Args:
        frames: database, subject, video, frame, fps, inside, score; in any order. fps may be missing where
            ``options.unit`` is frames.
        expressions: database, subject, video, onset, offset; may be empty.
        options: how intervals are found and matched; `SpotOptions` by default.

    Returns:
        Rows ``all`` and, where there are several, each database. Columns videos, frames, inside (frames),
        expressions, found (intervals), hits, seconds, still_seconds (of videos without an expression; nan
        where a video has no fps), auc, interval_precision, interval_recall, interval_f1, false_alarms (a
        minute of the videos without an expression). A score is nan where it is not defined: auc without
        frames of both kinds, false_alarms without such a video.

    Raises:
        MerError: a column is missing, or a value in it; a frame twice; a video of two rates; an expression of
            no video or without a frame; ``inside`` is not what the expressions say; or seconds are asked for
            and a video has no fps.
    """
    options = options or SpotOptions()
    frames = check_frames(frames)
    expressions = _check_expressions(frames, expressions)
    intervals = {
        name: part[["onset", "offset"]].to_numpy(dtype=np.int64)
        for name, part in expressions.groupby(VIDEO, sort=False)
    }
    none = np.empty((0, 2), np.int64)
    rows = [_score(name, video, intervals.get(name, none), options) for name, video in _videos(frames)]
    videos = pd.DataFrame(rows)
    subsets = {ALL: (frames, videos)}
    if frames["database"].nunique() > 1:
        databases = videos.groupby("database")
        subsets |= {str(name): (part, databases.get_group(name)) for name, part in frames.groupby("database")}
    return pd.DataFrame({name: _pooled(*parts) for name, parts in subsets.items()}).T


def check_frames(frames: pd.DataFrame) -> pd.DataFrame:
    """The columns that count, sorted by video and frame.

    Raises:
        MerError: see `scores`.
    """
    frames = _columns("frames", frames, FRAMES)
    if frames.empty:
        raise MerError("the scored frames: there are none")
    for column in [*VIDEO, "frame", "inside", "score"]:
        if (empty := frames[column].isna()).any():
            raise MerError(
                f"the scored frames: {_name(frames[empty].iloc[0])} has no {column} ({int(empty.sum())} such)"
                + ("; the training diverged: lower optimizer.lr" if column == "score" else "")
            )
    score = frames["score"].to_numpy(dtype=np.float64)
    if not np.isfinite(score).all():
        row = frames[~np.isfinite(score)].iloc[0]
        raise MerError(
            f"{_name(row)}: the score is {row['score']}: the training diverged; lower optimizer.lr"
        )
    if (twice := frames.duplicated([*VIDEO, "frame"])).any():
        row = frames[twice].iloc[0]
        raise MerError(f"{_name(row)} stands twice; give one seed and one epoch")
    frames = frames.astype(dict.fromkeys(VIDEO, str))
    frames = frames.sort_values([*VIDEO, "frame"], kind="stable", ignore_index=True)
    frames["fps"] = frames["fps"].to_numpy(dtype=np.float64, na_value=np.nan)
    rates = frames.groupby(VIDEO)["fps"].agg(["nunique", "count", "size", "min"])
    none, one = rates["count"] == 0, (rates["count"] == rates["size"]) & (rates["nunique"] == 1)
    if (wrong := ~none & ~(one & (rates["min"] > 0))).any():
        video = "/".join(map(str, rates.index[wrong][0]))
        raise MerError(f"video {video}: its frames have no single fps above 0; correct the data's fps")
    return frames.astype({"inside": np.bool_, "frame": np.int64})


def _check_expressions(frames: pd.DataFrame, expressions: pd.DataFrame) -> pd.DataFrame:
    expressions = _columns("expressions", expressions, EXPRESSIONS)
    for column in EXPRESSIONS:
        if (empty := expressions[column].isna()).any():
            raise MerError(
                f"the expressions: one of video {_video(expressions[empty].iloc[0])} has no {column}"
            )
    expressions = expressions.astype(dict.fromkeys(VIDEO, str))
    if (wrong := expressions["offset"] < expressions["onset"]).any():
        raise MerError(f"{_expression(expressions[wrong].iloc[0])}: the offset is before the onset")
    covered = pd.Series(False, index=frames.index)
    numbers = {name: part["frame"] for name, part in frames.groupby(VIDEO, sort=False)}
    for _, row in expressions.iterrows():
        number = numbers.get(tuple(row[VIDEO]))
        if number is None:
            raise MerError(f"{_expression(row)}: no frame of this video is scored")
        within = number.between(row["onset"], row["offset"])
        if not within.any():
            first, last = number.iloc[0], number.iloc[-1]
            raise MerError(
                f"{_expression(row)}: the video has no frame in it; its frames are {first} to {last}"
            )
        covered.loc[number.index[within]] = True
    if (other := covered != frames["inside"]).any():
        row = frames[other].iloc[0]
        where = "inside" if row["inside"] else "outside"
        raise MerError(f"{_name(row)}: marked as {where} an expression, and the expressions say otherwise")
    return expressions


def _score(
    name: tuple[str, ...], video: pd.DataFrame, true: NDArray[np.int64], options: SpotOptions
) -> dict[str, object]:
    """The counts of one video."""
    found = _spot(name, video, options)
    hits, _, _ = spotting_metrics.match(true, found, options.least_iou)
    numbers = video["frame"].to_numpy()
    seconds = (numbers[-1] - numbers[0] + 1) / video["fps"].iloc[0]
    return {
        **dict(zip(VIDEO, name, strict=True)),
        "expressions": len(true),
        "found": len(found),
        "hits": hits,
        "seconds": seconds,
    }


def _pooled(frames: pd.DataFrame, videos: pd.DataFrame) -> dict[str, float]:
    found, hits = int(videos["found"].sum()), int(videos["hits"].sum())
    true = int(videos["expressions"].sum())
    still = videos[videos["expressions"] == 0]
    intervals = spotting_metrics.interval_scores(hits, found - hits, true - hits)
    # Without every rate there is no minute.
    timed = still["seconds"].notna().all()
    return {
        "videos": len(videos),
        "frames": len(frames),
        "inside": int(frames["inside"].sum()),
        "expressions": true,
        "found": found,
        "hits": hits,
        "seconds": videos["seconds"].sum(skipna=False),
        "still_seconds": still["seconds"].sum(skipna=False),
        "auc": spotting_metrics.frame_auc(frames["inside"].to_numpy(), frames["score"].to_numpy()),
        **{f"interval_{key}": value for key, value in intervals.items()},
        "false_alarms": spotting_metrics.false_alarms_per_minute(still["found"], still["seconds"])
        if timed
        else float("nan"),
    }


def _spot(name: tuple[str, ...], video: pd.DataFrame, options: SpotOptions) -> NDArray[np.int64]:
    rate = 1.0
    if options.unit == "seconds":
        rate = float(video["fps"].iloc[0])
        if np.isnan(rate):
            raise MerError(
                f"video {'/'.join(name)}: its fps is not known, and durations are in seconds; give it in the "
                "data, or write them in frames (unit: frames)"
            )
    return spotting_metrics.spot(
        video["score"].to_numpy(dtype=np.float64),
        video["frame"].to_numpy(),
        threshold=options.threshold,
        relative=options.relative,
        smoothing=options.smoothing * rate,
        reach=options.reach,
        least=options.least * rate,
        greatest=options.greatest * rate,
    )


def _videos(frames: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    """Each video's name and frames, of sorted frames."""
    for name, video in frames.groupby(VIDEO, sort=False):
        yield tuple(map(str, name)), video


def _columns(what: str, table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    if missing := [name for name in columns if name not in table.columns]:
        raise MerError(f"the table of {what} lacks the column(s) {', '.join(missing)}")
    return table[columns]


def _video(row: "pd.Series[Any]") -> str:
    return "/".join(str(row[name]) for name in VIDEO)


def _name(row: "pd.Series[Any]") -> str:
    return f"frame {row['frame']} of video {_video(row)}"


def _expression(row: "pd.Series[Any]") -> str:
    return f"the expression {row['onset']} to {row['offset']} of video {_video(row)}"
