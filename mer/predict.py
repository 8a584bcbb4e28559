"""``mer predict``: the emotion of videos or folders of frames; with a checkpoint that spots, when too.

Of each clip it writes ``<clip>.json`` (see `mer.prediction_json`) and ``<clip>.png``, and prints a summary.
The pictures show the frames, and so the people in them: they are the user's own.
"""

import argparse
import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import nn

from mer import config
from mer.atomic import write_text
from mer.data.faces import Method
from mer.data.frames import SUFFIXES, VIDEO_SUFFIXES, list_names
from mer.errors import MerError
from mer.plots import save_figure
from mer.prediction import predict_clip
from mer.prediction_input import Encoded, Model, Options, Source, encode_clip, kind_of, load_model, shown
from mer.prediction_json import as_json, check_kept
from mer.prediction_picture import draw_prediction
from mer.prediction_summary import Done, made_by, print_summary
from mer.prepare import make_encoding


def main(arguments: Sequence[str] | None = None) -> None:
    """Predict clips.

    Raises:
        MerError: the checkpoint or all that was named cannot be read; or, at the end, clips that failed.
    """
    options = _parser().parse_intermixed_args(arguments)
    try:
        sources = find_clips(options.clips, apart_from=options.out)
    except OSError as error:
        raise MerError(f"{error.filename}: cannot be read ({error.strerror})") from error
    chosen = Options(
        onset=options.onset,
        apex=options.apex,
        offset=options.offset,
        fps=options.fps,
        cropped=options.cropped,
        faces=options.faces,
        landmarks=options.landmarks,
        threshold=options.threshold,
    )
    _check(options, sources)
    for source in sources:
        check_kept(options.out / f"{source.name}.json", source, options.checkpoint)
    model = load_model(
        options.checkpoint,
        trusted=options.trust,
        device=_device(options.device),
        instead=None if options.encoding is None else _encoding(options.encoding),
    )
    done = list(
        _with_bar(
            _predict(
                sources, model, chosen, options.checkpoint, options.out, pictures=not options.no_pictures
            ),
            len(sources),
        )
    )
    failed = [f"{source.path}: {found}" for source, found in done if isinstance(found, str)]
    if options.json:
        records = [found for _, found in done if not isinstance(found, str)]
        print(json.dumps(records if len(sources) > 1 else records[0] if records else None, allow_nan=False))
    else:
        print_summary(done, model, options.checkpoint, options.out)
    if failed and len(sources) == 1:
        raise MerError(str(done[0][1]))
    if failed:
        lines = "; ".join(str(found) for _, found in done if isinstance(found, str))
        raise MerError(f"{len(failed)} of {len(sources)} clips failed: {lines}")


def find_clips(paths: Sequence[Path], *, apart_from: Path) -> list[Source]:
    """The clips that were named: files, folders of frames, and all that lie anywhere in other folders.

    Args:
        paths: as given.
        apart_from: a folder whose content is none, where pictures are written to.

    Raises:
        MerError: a path that is not there, or a folder without any clip.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        path = path.expanduser()
        if not path.exists():
            raise MerError(
                f"{path}: nothing is there; name a video, a folder of frames, or a folder of these"
            )
        if not path.is_dir():
            found.append((path, path.stem))
            continue
        if path.resolve() == apart_from.resolve():
            raise MerError(f"{path}: --out is the folder of the clip itself; choose another")
        inside = _walk(path, apart_from.resolve(), set())
        if not inside:
            raise MerError(
                f"{path}: no video in it ({' '.join(VIDEO_SUFFIXES)}) and no frames ({' '.join(SUFFIXES)})"
            )
        for clip in inside:
            parts = clip.relative_to(path).parts
            stem = clip.stem if clip.is_file() else clip.name
            found.append((clip, ".".join([*parts[:-1], stem]) if parts else path.resolve().name))
    named: list[Source] = []
    taken: set[str] = set()
    for path, name in dict.fromkeys(found):
        given, number = shown(Path(name)) or "clip", 1
        if given in taken and path.is_file():
            given = f"{given}-{path.suffix.lstrip('.')}"
        unique = given
        while unique in taken:
            number += 1
            unique = f"{given}-{number}"
        taken.add(unique)
        named.append(Source(path, unique, kind_of(path)))
    return named


def _walk(folder: Path, apart_from: Path, seen: set[Path]) -> list[Path]:
    """The clips in a folder, in the order of their names; a folder that holds images is one."""
    if folder.resolve() in {apart_from, *seen}:  # links may lead in a circle
        return []
    seen.add(folder.resolve())
    names = list_names(folder, lambda _: True)
    files = [folder / name for name in names if (folder / name).is_file()]
    clips = [folder] if any(file.suffix.lower() in SUFFIXES for file in files) else []
    for name in names:
        path = folder / name
        if path.is_dir():
            clips += _walk(path, apart_from, seen)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            clips.append(path)
    return clips


def _predict(
    sources: Sequence[Source], model: Model, options: Options, checkpoint: Path, out: Path, *, pictures: bool
) -> Iterator[Done]:
    """Predict one clip after the other, and write its files; the next ones are encoded meanwhile."""
    by = made_by(model, checkpoint)
    for source, waiting in _encode_ahead(sources, model, options):
        try:
            prediction = predict_clip(waiting.result(), model, options)
            record = as_json(prediction, model, checkpoint)
            picture = out / f"{source.name}.png"
            out.mkdir(parents=True, exist_ok=True)
            if pictures:
                save_figure(draw_prediction(prediction, model, by), picture)
            write_text(out / f"{source.name}.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
        except MerError as error:
            yield source, str(error)
        except OSError as error:
            raise MerError(
                f"{out}: cannot be written ({error.strerror or error}); choose another --out"
            ) from error
        else:
            yield source, record


def _encode_ahead(
    sources: Sequence[Source], model: Model, options: Options
) -> "Iterator[tuple[Source, Future[Encoded]]]":
    """The clips in order, as many at a time as there are cores: decoding one does not fill them."""
    workers = os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Source, Future[Encoded]]] = deque()
    try:
        for source in sources:
            waiting.append((source, pool.submit(encode_clip, source, model, options)))
            if len(waiting) > workers:
                yield waiting.popleft()
        yield from waiting
    finally:
        pool.shutdown(cancel_futures=True)


def _with_bar(done: Iterator[Done], total: int) -> Iterator[Done]:
    """Pass on what is done; of several clips with a bar and the time left, in a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = total == 1 or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        bar = progress.add_task("clips", total=total)
        for each in done:
            progress.advance(bar)
            yield each


def _check(options: argparse.Namespace, sources: Sequence[Source]) -> None:
    """Raise MerError for options that no clip can have, or that many clips cannot share."""
    numbers = ("onset", "apex", "offset", "landmarks")
    if len(sources) > 1 and (given := [name for name in numbers if getattr(options, name) is not None]):
        raise MerError(f"--{given[0]} is of one clip, but {len(sources)} are named; predict them one by one")
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise MerError(f"--fps {options.fps}: a number above 0 is needed")
    if not 0 < options.threshold <= 1:
        raise MerError(f"--threshold {options.threshold}: a number above 0 and up to 1 is needed")
    if options.landmarks is not None and not options.landmarks.is_file():
        raise MerError(f"--landmarks {options.landmarks}: no such file")


def _device(chosen: str) -> str:
    if chosen == "cuda" and not torch.cuda.is_available():
        raise MerError("--device cuda: torch sees no GPU here; use --device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if chosen == "auto" else chosen


def _encoding(name: str) -> nn.Module:
    encoding = make_encoding(config.compose([f"encoding={name}"]))
    if encoding is None:
        raise MerError("--encoding none encodes nothing; name one that reads frames, such as apex_flow_ipol")
    return encoding


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer predict",
        description="The emotion of a clip, encoded as the checkpoint was trained; with a checkpoint that "
        "spots, its intensity over time and the intervals. Writes <clip>.json and <clip>.png.",
        epilog="Without --onset and --offset a clip is all its frames; a missing apex is spotted. A folder "
        "of videos or of folders is predicted clip by clip; the exit code is 1 where one of them failed.",
    )
    parser.add_argument(
        "clips", nargs="+", type=Path, metavar="CLIP", help="video, folder of frames, or a folder of these"
    )
    parser.add_argument(
        *("-c", "--checkpoint"),
        type=Path,
        required=True,
        help="checkpoint.safetensors, a fold's folder, or a run folder: the mean over its folds",
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder (default predictions)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print the JSON in place of the summary")
    parser.add_argument("--no-pictures", action="store_true", help="write no PNG")
    for name in ("onset", "apex", "offset"):
        parser.add_argument(
            f"--{name}", type=int, metavar="N", help="frame number; those of a video start at 1"
        )
    parser.add_argument("--fps", type=float, help="frames a second, of folders and of videos that are wrong")
    parser.add_argument("--cropped", action="store_true", help="the frames show the face alone")
    parser.add_argument("--faces", choices=get_args(Method), help="how faces are found, if not as trained")
    parser.add_argument("--landmarks", type=Path, metavar="FILE", help="68 points of the onset frame")
    parser.add_argument(
        "--threshold", type=float, default=Options.threshold, help="least intensity of a peak (default 0.5)"
    )
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="of conf/encoding, for checkpoints of images that were published encoded",
    )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="of your own networks and encodings"
    )
    return parser
