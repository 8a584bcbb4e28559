"""``mer dashboard``: reads runs and tables, writes the folder."""

import argparse
import importlib.resources
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from mer.dashboard import clip_images, curves, papers, scoring, sizes, spotting_view
from mer.dashboard.overview import Row, row
from mer.dashboard.pages import STATIC, environment, without_nan, write_page
from mer.dashboard.run_data import Run, read_all
from mer.data.progress import progress_bar
from mer.data.roots import cache_dir
from mer.errors import MerError
from mer.selection import LAST, describe
from mer.table_comparisons import CAUTION

MARK = ".mer-dashboard"  # in a folder that this verb wrote, and may replace
CLIPS = 500  # wrong clips that a page shows


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the dashboard.

    Raises:
        MerError: the output folder holds something else, or cannot be written.
    """
    options = _parser().parse_args(arguments)
    runs_dir = options.runs or options.runs_dir or Path("runs")
    out: Path = options.out
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise MerError(f"{out}: is there already and is no dashboard; name another folder with --out")
    # Beside the old one, which is replaced when all is written.
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        scratch.mkdir(parents=True)
        line = write(scratch, runs_dir, options.experiments, clips=not options.no_clips)
        if out.exists():
            shutil.rmtree(out)
        scratch.rename(out)
    except OSError as error:
        raise MerError(f"{out}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(line, file=sys.stderr)
    print(out / "index.html")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mer dashboard",
        description="Write all runs and tables as pages for the browser, which need no network and no "
        "server: open index.html. The folder holds encoded images of faces; a .gitignore in it keeps them "
        "out of git.",
    )
    parser.add_argument("runs_dir", nargs="?", type=Path, help="default: runs")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="the same, by name")
    parser.add_argument(
        "--experiments", type=Path, default=Path("experiments"), metavar="DIR", help="default: experiments"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dashboard"), metavar="DIR", help="default: dashboard"
    )
    parser.add_argument("--no-clips", action="store_true", help="without images of the wrong clips")
    return parser


def write(out: Path, runs_dir: Path, experiments: Path, *, clips: bool = True) -> str:
    """Write all pages into an empty folder.

    Args:
        out: the folder.
        runs_dir: holds the runs; need not exist.
        experiments: holds the papers' tables; need not exist.
        clips: write the images of wrong clips.

    Returns:
        What was written, in one line.
    """
    _write_assets(out)
    made = environment()
    found = read_all(runs_dir)
    images, lacking = clip_images.find_images(found, cache_dir()) if clips else ({}, {})
    rows = []
    with progress_bar(show=True) as bar:
        for run in bar.track(found, description="runs"):
            content = run.plan.content if run.plan else ""
            missing = lacking.get(content, "") if clips else "the dashboard was written with --no-clips"
            one, view = _view(run, images.get(content), missing, out)
            rows.append(one)
            _write_run(made, out, run, one, view)
    tables = papers.read_tables(experiments, found, runs_dir)
    printed = sizes.read_printed(experiments)
    overview = {"rows": rows, "runs_dir": str(runs_dir), "tables": len(tables)}
    write_page(made, "overview.html", Path("index.html"), out, page="runs", **overview)
    data = without_nan([one.plain() for one in rows])
    write_page(made, "compare.html", Path("compare.html"), out, page="compare", data=data, caution=CAUTION)
    sized = {"data": data, "printed": printed, "printed_data": [vars(each) for each in printed]}
    write_page(made, "complexity.html", Path("complexity.html"), out, page="complexity", rows=rows, **sized)
    _write_papers(made, out, tables)
    problems = sum(one.state == "damaged" for one in rows)
    return f"{len(rows)} runs ({problems} cannot be read), {len(tables)} tables"


def _write_assets(out: Path) -> None:
    (out / ".gitignore").write_text("# Encoded images of people: never commit them.\n*\n", encoding="utf-8")
    (out / MARK).write_text("Written by `mer dashboard`, which replaces this folder.\n", encoding="utf-8")
    assets = out / "assets"
    shutil.copytree(STATIC, assets)
    plotly = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    (assets / "plotly.min.js").write_bytes(plotly.read_bytes())


def _view(
    run: Run, encoded: clip_images.EncodedImages | None, missing: str, out: Path
) -> tuple[Row, dict[str, Any]]:
    """A run's row of the overview, and what its page shows. What fails becomes the run's problem."""
    try:
        subsets = []
        view: dict[str, Any] = {
            "subjects": [],
            "wrong": [],
            "wrong_count": 0,
            "spotting": None,
            "missing": missing,
        }
        if run.plan and run.predictions is not None:
            classes = run.plan.classes
            subsets = scoring.subsets(run.predictions, classes)
            view["subjects"] = scoring.subjects(run.predictions, classes)
            wrong = scoring.wrong_clips(run.predictions, classes)
            view["wrong_count"] = len(wrong)
            view["wrong"] = _clips(wrong.head(CLIPS).to_dict("records"), encoded, out)
        if run.plan and run.spotting:
            view["spotting"] = spotting_view.view(run.plan, *run.spotting)
        view["bands"] = [] if run.metrics is None else curves.bands(run.metrics)
        view["by_epoch"] = None if run.by_epoch is None else curves.score_lines(run.by_epoch)
        channels = None if encoded is None else int(encoded.images.shape[-1])
        return row(run, subsets, view["spotting"], channels), {**view, "subsets": subsets}
    except OSError:
        raise  # the folder cannot be written
    except Exception as error:  # one run must not hide the others
        broken = Run(
            run.folder, run.name, run.plan, run.states, run.reasons, f"{type(error).__name__}: {error}"
        )
        empty = {
            "subsets": [],
            "subjects": [],
            "wrong": [],
            "wrong_count": 0,
            "spotting": None,
            "missing": "",
        }
        return row(broken, [], None, None), {**empty, "bands": [], "by_epoch": None}


def _clips(
    wrong: list[dict[Any, Any]], encoded: clip_images.EncodedImages | None, out: Path
) -> list[dict[Any, Any]]:
    for clip in wrong:
        clip["image"] = ""
        if encoded is not None:
            name = (str(clip["database"]), str(clip["subject"]), str(clip["clip"]))
            if name in encoded.rows:
                clip_images.write_image(encoded, name, out)
                clip["image"] = clip_images.image_path(encoded, name)
    return wrong


def _write_run(made: jinja2.Environment, out: Path, run: Run, one: Row, view: dict[str, Any]) -> None:
    config = yaml.safe_dump(run.plan.config, sort_keys=False, allow_unicode=True) if run.plan else ""
    data = {
        "classes": run.plan.classes if run.plan else [],
        "subsets": [vars(subset) for subset in view["subsets"]],
        "subjects": view["subjects"],
        "bands": view["bands"],
        "by_epoch": view["by_epoch"],
        "spotting": view["spotting"],
    }
    write_page(
        made,
        "run.html",
        Path(one.page),
        out,
        page="run",
        run=run,
        row=one,
        config=config,
        counted=describe(LAST),
        data=without_nan(data),
        view=view,
    )


def _write_papers(made: jinja2.Environment, out: Path, tables: list[papers.PaperTable]) -> None:
    names = list(dict.fromkeys(table.paper for table in tables))
    scores = [score for table in tables for score in table.scores]
    shown = {"tables": tables, "names": names, "scores": scores, "data": [vars(score) for score in scores]}
    write_page(made, "papers.html", Path("papers.html"), out, page="papers", **shown)
    for name in names:
        own = [table for table in tables if table.paper == name]
        write_page(
            made, "paper.html", Path("papers", f"{name}.html"), out, page="papers", name=name, tables=own
        )
