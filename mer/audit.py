"""``mer audit``: what is in a database's folder, what is wrong with it, and what a run will use."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd
from omegaconf import DictConfig
from torch import nn

from mer import config
from mer.data.clips import KEY, class_counts
from mer.data.duplicates import duplicate_findings, find_duplicates
from mer.data.encoded import open_set, set_folder
from mer.data.findings import Finding, check_strict, summary
from mer.data.preparation import Ready
from mer.data.videos import Videos
from mer.errors import MerError
from mer.prepare import Table, make_encoding, make_splits, read_table, ready_clips

USAGE = """usage: mer audit [overrides of `mer train`] [--verify] [--json]

Reads a database as `mer train` would, trains nothing, and tells what it found: clips by label, differences
from the published counts, every file and row that is not as it should be and what happens to it, faces,
apexes, folds, and whether the encoded set is there.

  mer audit data=casme2 data.root=/path/to/casme2
  mer audit data=casme2 encoding=dynamic_image strict=true   ends with code 1 where anything is to be mended
  mer audit data=casme_sq task=spotting encoding=frames_and_flow   videos, and the expressions in them

--verify  read the encoded set again and compare it with its hash
--json    one JSON object in place of text"""


def main(arguments: Sequence[str]) -> None:
    """Print the audit.

    Raises:
        MerError: nothing can be read; or, with ``strict=true``, a finding that is no known quirk.
    """
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return
    flags = {argument for argument in arguments if argument.startswith("--")}
    if strange := flags - {"--verify", "--json"}:
        raise MerError(f"mer audit: no option {min(strange)}; there are --verify and --json")
    cfg = config.compose([argument for argument in arguments if argument not in flags])
    table = read_table(cfg)
    encoding = make_encoding(cfg)
    ready = ready_clips(cfg, table, encoding)
    same = duplicate_findings(ready.clips, find_duplicates(ready.clips))
    findings = [*table.findings, *ready.findings, *same]
    report = audit(cfg, table, ready, encoding, verify="--verify" in flags)
    if "--json" in flags:
        print(json.dumps(report | {"findings": [vars(finding) for finding in findings]}, indent=1))
    else:
        print("\n".join(_lines(report, findings)))
    if cfg.strict:
        sys.stdout.flush()
        check_strict(findings, cfg.data.name)


def audit(
    cfg: DictConfig, table: Table, ready: Ready, encoding: nn.Module | None, *, verify: bool = False
) -> dict[str, Any]:
    """The facts of an audit, without the findings, as plain values; ``videos`` is None but for spotting."""
    counts = class_counts(table.clips).astype(int)
    videos = ready.videos
    labels = table.mapped["label"] if videos is None else _classes(table, videos)
    folds = [split.fold for split in make_splits(cfg, ready.clips)]
    folder = set_folder(ready.clips, encoding, faces=ready.faces)
    there = open_set(folder, verify=verify)
    state = "not made yet" if there is None else ("verified" if verify else "there")
    if there is None and folder.exists():
        state = "damaged: the next run makes it again"
    return {
        "data": cfg.data.name,
        "source": table.source,
        "synthetic": table.synthetic,
        "counts": {str(database): row.to_dict() for database, row in counts.iterrows()},
        "other_than_published": table.mismatch,
        "frames": _frames(table.clips if videos is None else videos.table),
        "videos": None if videos is None else _videos(videos, labels),
        "classes": {name: int((labels == name).sum()) for name in table.classes},
        # Where videos are scored, such expressions are spotted all the same: `videos` counts them.
        "left_out_by_label": len(table.clips) - len(table.mapped) if videos is None else 0,
        "used": len(ready.clips),
        "faces": _faces(ready),
        "masks_eyes": encoding is not None and encoding.masks_eyes,
        "apexes": _apexes(cfg, table, ready),
        "protocol": {
            "folds": len(folds),
            "subjects": int(ready.clips.groupby("database")["subject"].nunique().sum()),
        },
        "encoded": {
            "encoding": type(encoding).__name__ if encoding else "none",
            "state": state,
            "folder": str(folder),
        },
    }


def _frames(clips: pd.DataFrame) -> dict[str, int]:
    if "image" in clips.columns:
        return {"encoded images": len(clips)}
    cropped = clips["cropped"] if "cropped" in clips.columns else pd.Series(True, index=clips.index)
    return {"cropped": int(cropped.sum()), "original": int((~cropped).sum())}


def _classes(table: Table, videos: Videos) -> "pd.Series[Any]":
    """The class of each expression; missing where its label has none."""
    mapped = table.mapped.set_index(KEY)["label"]
    return mapped.reindex(pd.MultiIndex.from_frame(videos.expressions[KEY]))


def _videos(videos: Videos, labels: "pd.Series[Any]") -> dict[str, int]:
    """Of all videos, also those whose face was not found."""
    sizes = videos.expressions.groupby("video").size()
    return {
        "videos": len(videos.table),
        "with_one_expression": int((sizes == 1).sum()),
        "with_several": int((sizes > 1).sum()),
        "without_any": len(videos.table) - len(sizes),
        "expressions": len(videos.expressions),
        "expressions_without_class": int(labels.isna().sum()),
    }


def _apexes(cfg: DictConfig, table: Table, ready: Ready) -> dict[str, int]:
    """Of the clips, or of the expressions in videos, some of which may stay without one."""
    if ready.videos is None:
        return {"labelled": int(ready.clips["apex"].notna().sum()) - ready.spotted, "spotted": ready.spotted}
    expressions = ready.videos.expressions
    annotated = table.clips.set_index(KEY)["apex"].reindex(pd.MultiIndex.from_frame(expressions[KEY]))
    there = expressions["apex"].notna().to_numpy()
    labelled = there & annotated.notna().to_numpy() & (cfg.apex != "spot_all")
    return {
        "labelled": int(labelled.sum()),
        "spotted": int((there & ~labelled).sum()),
        "missing": int((~there).sum()),
    }


def _faces(ready: Ready) -> dict[str, Any]:
    lost = sum(finding.problem == "no face found" for finding in ready.findings)
    if ready.faces is None:
        return {"not needed: frames are used as they are": len(ready.clips)}
    methods: Counter[str] = Counter(face.method for face in ready.faces)
    eyes: Counter[str] = Counter(face.eyes_from for face in ready.faces)
    return {**methods, "not found": lost, "eyes": dict(eyes)}


def _lines(report: dict[str, Any], findings: Sequence[Finding]) -> list[str]:
    """The audit as text, in the order in which data flows."""
    drawn = "SYNTHETIC DATA: " if report["synthetic"] else ""
    lines = [f"{drawn}{report['data']}: {report['source']}", ""]
    videos = report["videos"]
    clips_are, used_are = ("clips", "clips") if videos is None else ("expressions", "videos")
    for database, counts in report["counts"].items():
        labels = ", ".join(
            f"{name} {count}" for name, count in counts.items() if name != "subjects" and count
        )
        clips = sum(count for name, count in counts.items() if name != "subjects")
        lines.append(f"{database}: {clips} {clips_are} of {counts['subjects']} subjects: {labels}")
    if report["other_than_published"] is not None:
        other = report["other_than_published"]
        lines.append(
            f"other counts than published: {other}" if other else "all counts are the published ones"
        )
    lines.append(f"frames: {_join(report['frames'])}")
    if videos is not None:
        lines.append(
            f"videos: {videos['videos']}: {videos['with_one_expression']} with one expression, "
            f"{videos['with_several']} with several, {videos['without_any']} without any; "
            f"{videos['expressions']} expressions"
        )
    eyes = report["faces"].pop("eyes", None)
    lines.append(f"faces: {_join(report['faces'])}" + (f"; eyes from {_join(eyes)}" if eyes else ""))
    if report["masks_eyes"] and eyes and set(eyes) != {"landmarks"}:
        lines.append("eyes are masked by boxes where there are no landmarks: they hide more, up to the brows")
    lines.append(f"apexes: {_join(report['apexes'])}")
    unclassed = f"{report['left_out_by_label']} clips left out by their label"
    if videos is not None:
        without = videos["expressions_without_class"]
        unclassed = f"{without} expressions without a class by their label: spotted, not classified"
    lines.append(f"classes: {_join(report['classes'])}; {unclassed}")
    protocol = report["protocol"]
    lines.append(
        f"used: {report['used']} {used_are}, {protocol['subjects']} subjects, {protocol['folds']} folds"
    )
    encoded = report["encoded"]
    lines.append(f"encoded as {encoded['encoding']}: {encoded['state']} ({encoded['folder']})")
    lines += ["", summary(findings) or "no finding"]
    for known, title in ((False, "to look at:"), (True, "known quirks of the release, settled:")):
        listed = [finding for finding in findings if finding.known == known]
        if listed:
            lines += ["", title, *(f"  {finding}" for finding in listed)]
    return lines


def _join(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
