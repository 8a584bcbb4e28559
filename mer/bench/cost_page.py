"""docs/cost.md from the figures of ``mer bench cost``: no number in it is typed."""

import statistics
from collections.abc import Sequence
from typing import Any

SUBJECTS, EPOCHS = 10_000, 100  # the question that the page answers
HEADERS = {
    "train_clips": "training clips",
    "side": "side, px",
    "epoch_s": "s an epoch",
    "fold_s": "s a fold, besides epochs",
    "set_mib": "encoded set, MiB",
    "folds": "folds",
    "read_s": "s to read all predictions",
    "plan_s": "s to read plan.yaml",
    "files_a_fold": "files a fold",
    "kib_a_fold": "KiB a fold",
    "subjects": "subjects",
    "split_s": "s to split and guard",
    "split_mib": "MiB of splits",
}


def cost_page(result: dict[str, Any], provenance: str) -> str:
    """The page, from the figures of ``mer bench cost`` and the machine that they are of."""
    powers = result["powers"]
    fold_s = _fold_s(result)
    paragraphs = [
        "# What a LOSO costs",
        "Written by `mer bench page` from `bench/results/cost.json`; do not edit. "
        f"One thread of {provenance}.",
        "A LOSO trains a fold a subject, and each fold reads nearly every clip in every epoch: time is "
        "**folds x epochs x (seconds an epoch) + folds x (seconds a fold)**, over the folds that run side by "
        "side. An epoch's time grows with the clips, and so do the folds, so it grows with the **square** of "
        "the subjects.",
        "## Clips\n\nSTSTNet, 28 px. Seconds an epoch grow as clips to the power "
        f"{powers['epoch_s by clips']:g} between the first and the last row; below a batch or two, an "
        "epoch costs its calls.",
        _table(result["clips"], ["train_clips", "epoch_s", "fold_s", "set_mib"]),
        f"## Image side\n\n{result['side_network']}, which takes any side. Seconds an epoch grow as the side "
        f"to the power {powers['epoch_s by side']:g}; the encoded set grows as its square.",
        _table(result["sides"], ["side", "train_clips", "epoch_s", "set_mib"]),
        "## Epochs\n\nLinear: an epoch depends on no other. What is left of a fold (building the network and "
        "the Trainer, testing, writing) hardly grows with the clips: "
        f"{fold_s:.2g} s, the median of the column above. With `store=every_epoch` "
        "the predictions grow with the epochs too.",
        "## Folds: splits and results\n\nA split lists the rows that it trains on, so all splits together "
        f"hold subjects x clips numbers: MiB grow as subjects to the power "
        f"{powers['split_mib by subjects']:g}, seconds to the power {powers['split_s by subjects']:g}.",
        _table(result["subjects"], ["subjects", "split_s", "split_mib"]),
        "Finished folds are read one by one, each with its record: seconds grow as folds to the power "
        f"{powers['read_s by folds']:g}. plan.yaml is read once a reading, not once a fold.",
        _table(result["folds"], ["folds", "read_s", "plan_s", "files_a_fold", "kib_a_fold"]),
        _large(result),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _fold_s(result: dict[str, Any]) -> float:
    """Seconds of a fold besides its epochs, which hardly grow with the clips: the median over them."""
    return float(statistics.median(point["fold_s"] for point in result["clips"]))


def _large(result: dict[str, Any]) -> str:
    """What many subjects would take: each part scaled by the power that its definition gives it."""
    clips = SUBJECTS * result["clips_a_subject"]
    most, folds, split = result["clips"][-1], result["folds"][-1], result["subjects"][-1]
    grown = SUBJECTS / split["subjects"]
    epoch_s = most["epoch_s"] * clips / most["train_clips"]
    fold_s = _fold_s(result) * SUBJECTS
    training_s = epoch_s * EPOCHS * SUBJECTS
    encoded_gib = most["set_mib"] * clips / most["train_clips"] / 1024
    split_gib = split["split_mib"] * grown**2 / 1024
    split_s = split["split_s"] * grown**2
    reading_s = folds["read_s"] * SUBJECTS / folds["folds"]
    size_gib = folds["kib_a_fold"] * SUBJECTS / 2**20
    parts = [
        ("training, one core", training_s, f"folds x epochs x clips, {_duration(epoch_s)} an epoch"),
        ("folds besides epochs, one core", fold_s, "folds"),
        ("splitting and guarding, before the first fold", split_s, "subjects x clips"),
        ("reading all predictions, for a table", reading_s, "folds"),
    ]
    text = [
        f"## {SUBJECTS:,} subjects",
        "",
        f"At {result['clips_a_subject']:g} clips a subject as in the composite ({clips:,.0f} clips), "
        f"{EPOCHS} epochs, STSTNet. Extrapolated from the last row of each table by what the part grows "
        "with; nothing of this size was run.",
        "",
        "| what | time | grows with |",
        "|---|---:|---|",
        *(f"| {what} | {_duration(seconds)} | {why} |" for what, seconds, why in parts),
        "",
        f"In memory: the splits, {split_gib:,.1f} GiB, in the process that starts the run; the encoded set, "
        f"{encoded_gib:,.2f} GiB of 28 px images, memory-mapped and shared by the workers. On disk: "
        f"{SUBJECTS * folds['files_a_fold']:,.0f} files, {size_gib:,.2f} GiB.",
        "",
        "What breaks first, in this order:",
        "",
        "1. **The protocol.** Leaving out one of so many subjects changes next to nothing in the training "
        f"set, and costs {_duration(training_s)} of a core. Leave out groups of subjects, as "
        "`protocol=holdout` does with one group: the cost then grows with the groups, not with the subjects.",
        f"2. **The splits.** {split_gib:,.1f} GiB of row numbers before anything is trained: a fold would "
        "have to hold its test rows only, and the rest be derived.",
        f"3. **Small files.** {SUBJECTS * folds['files_a_fold']:,.0f} of them, {_duration(reading_s)} to "
        "read for a table: one file of predictions a run in place of one a fold.",
        "4. **plan.yaml** lists every fold, and its reading is a parse of YAML: "
        f"{_duration(folds['plan_s'] * SUBJECTS / folds['folds'])}, each time a run is looked at, by "
        "`mer status` too.",
    ]
    return "\n".join(text)


def _table(points: Sequence[dict[str, Any]], keys: Sequence[str]) -> str:
    head = f"| {' | '.join(HEADERS[key] for key in keys)} |\n|{'---:|' * len(keys)}"
    rows = "\n".join(f"| {' | '.join(f'{point[key]:g}' for key in keys)} |" for point in points)
    return f"{head}\n{rows}"


def _duration(seconds: float) -> str:
    """Seconds in the largest unit of which there is at least one."""
    for unit, size in (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.3g} s"
