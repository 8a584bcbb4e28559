"""What ``mer predict`` prints: one clip in full, or a row a clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mer.prediction_input import Model, Source
from mer.prediction_json import SYNTHETIC

Done = tuple[Source, "dict[str, Any] | str"]  # a clip's JSON; of one that failed, why


def print_summary(done: Sequence[Done], model: Model, checkpoint: Path, out: Path) -> None:
    """One clip in full, or a row a clip."""
    console = Console(soft_wrap=True, highlight=False)
    if model.about.synthetic:
        console.print(Text(f"{SYNTHETIC}: this says nothing about people", style="bold yellow"))
    if len(done) == 1 and not isinstance(done[0][1], str):
        _print_one(console, done[0][1])
    elif len(done) > 1:
        _print_all(console, done, model)
    if any(not isinstance(found, str) for _, found in done):
        console.print(Text(f"by {made_by(model, checkpoint)}; written to {out}"))


def _print_one(console: Console, record: dict[str, Any]) -> None:
    folds = len(record["checkpoint"]["folds"])
    console.print(Text(record["input"]["path"], style="bold"))
    for line in (_frames_line(record), _face_line(record), *(f"note: {note}" for note in record["notes"])):
        console.print(Text(line))
    table = Table(show_header=folds > 1)
    table.add_column("")
    table.add_column("%", justify="right")
    if folds > 1:
        table.add_column(f"± over {folds} folds", justify="right")
    for name, value in sorted(record["probabilities"].items(), key=lambda item: -item[1]):
        style = "bold" if name == record["emotion"] else ""
        cells: list[Text | str] = [Text(name), f"{100 * value:.1f}"]
        if folds > 1:
            cells.append(f"{100 * record['spread'][name]:.1f}")
        table.add_row(*cells, style=style)
    console.print(table)
    if record["intervals"] is not None:
        console.print(_intervals_table(record) if record["intervals"] else "no expression spotted")


def _frames_line(record: dict[str, Any]) -> str:
    frames, given = record["frames"], record["input"]
    parts = [f"{given['frames']} frame{'s' * (given['frames'] != 1)}"]
    if given["fps"] is not None:
        parts[0] += f" at {given['fps']:g} a second"
    if frames["onset"] is not None:
        parts.append(f"onset {frames['onset']}")
    if frames["apex"] is not None:
        parts.append(f"apex {frames['apex']} ({frames['apex_from']})")
    if frames["offset"] is not None:
        parts.append(f"offset {frames['offset']}")
    return ", ".join(parts)


def _face_line(record: dict[str, Any]) -> str:
    face = record["face"]
    if face is None or face["method"] == "whole frame":
        return "face: whole frames"
    x, y = face["corners"][0]
    return f"face: {face['size'][0]}x{face['size'][1]} at {x:.0f}, {y:.0f} ({face['method']})"


def _intervals_table(record: dict[str, Any]) -> Table:
    table = Table()
    for column in ("spotted", "frames", "seconds", "intensity", "emotion", "%"):
        table.add_column(column, justify="left" if column == "emotion" else "right")
    for number, found in enumerate(record["intervals"], start=1):
        seconds = "" if found["onset_seconds"] is None else f"{found['onset_seconds']:.2f} to "
        seconds += "" if found["offset_seconds"] is None else f"{found['offset_seconds']:.2f}"
        table.add_row(
            *(str(number), f"{found['onset']} to {found['offset']}", seconds, f"{found['intensity']:.2f}"),
            Text(found["emotion"]),
            f"{100 * found['probabilities'][found['emotion']]:.1f}",
        )
    return table


def _print_all(console: Console, done: Sequence[Done], model: Model) -> None:
    spots, several = model.about.task == "spotting", len(model.checkpoints) > 1
    table = Table()
    table.add_column("clip")
    table.add_column("emotion")
    table.add_column("%", justify="right")
    if several and not spots:
        table.add_column("±", justify="right")
    table.add_column("spotted frames" if spots else "apex", justify="left" if spots else "right")
    table.add_column("face")
    for source, found in done:
        if isinstance(found, str):
            table.add_row(Text(source.name), Text("failed", style="red"))
            continue
        emotion = found["emotion"]
        shown = found["probabilities"]
        if spots and found["intervals"]:
            shown = max(found["intervals"], key=lambda each: each["intensity"])["probabilities"]
        cells: list[Text | str] = [
            Text(emotion or "none spotted"),
            "" if emotion is None else f"{100 * shown[emotion]:.1f}",
        ]
        if several and not spots:
            cells.append(f"{100 * found['spread'][emotion]:.1f}")
        if spots:
            cells.append(", ".join(f"{each['onset']}-{each['offset']}" for each in found["intervals"]))
        else:
            cells.append("" if found["frames"]["apex"] is None else str(found["frames"]["apex"]))
        face = found["face"]
        cells.append("whole frame" if face is None else face["method"])
        table.add_row(Text(source.name), *cells)
    console.print(table)
    notes = {
        (source.name, note) for source, found in done if not isinstance(found, str) for note in found["notes"]
    }
    for note in dict.fromkeys(note for _, note in sorted(notes)):
        count = sum(1 for _, other in notes if other == note)
        console.print(Text(f"note ({count} clip{'s' * (count != 1)}): {note}"))


def made_by(model: Model, checkpoint: Path) -> str:
    """The checkpoint in a few words, without a path of the machine."""
    run = model.about.run
    names = [str(run[name]) for name in ("experiment", "variant", "data", "protocol") if run.get(name)]
    where = " ".join(names) or checkpoint.name
    count = len(model.checkpoints)
    folds = f"mean of {count} folds" if count > 1 else f"fold {run.get('fold')}"
    network = str(model.about.network["_target_"]).rpartition(".")[2]
    return f"{network}, {where}, seed {run.get('seed')}, {folds}"
