"""A run's row of the overview, and what the pages that compare runs are given of it."""

from dataclasses import dataclass
from typing import Any

from mer.dashboard import scoring, sizes
from mer.dashboard.run_data import Run
from mer.scores import ALL


@dataclass(frozen=True)
class Row:
    """What the overview says of a run.

    Attributes:
        name: its path below the runs folder, which names it in addresses.
        page: its page, below the dashboard.
        seed: the number alone.
        state: see `Run.state`.
        scores, intervals: over all clips; empty where there are none.
        spotting: scores of all videos; empty where none were scored.
        parameters: of the network, or why they are not known.
        right, clipset: see `mer.dashboard.scoring.right`.
    """

    name: str
    page: str
    experiment: str
    variant: str
    data: str
    protocol: str
    seed: int
    state: str
    problem: str
    done: int
    folds: int
    clips: int
    subsets: list[scoring.Subset]
    scores: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    spotting: dict[str, Any]
    date: str
    commits: list[str]
    dirty: bool
    seconds: float | None
    synthetic: bool
    parameters: int | str
    right: str
    clipset: str

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        kept = vars(self) | {"subsets": [_subset(subset) for subset in self.subsets]}
        for name in ("problem", "commits", "scores", "intervals"):
            kept.pop(name)
        return kept


def row(
    run: Run, subsets: list[scoring.Subset], spotting: dict[str, Any] | None, channels: int | None
) -> Row:
    """The row of a run.

    Args:
        run: as read.
        subsets: its scores.
        spotting: `mer.dashboard.spotting_view.view`, of a run that spots.
        channels: of its encoded images, where they are known.
    """
    experiment, variant, data, protocol, seed = run.name.split("/")
    whole = next((subset for subset in subsets if subset.name == ALL), None)
    right, clipset = "", ""
    counted: int | str = "nothing is finished"
    if run.plan and run.predictions is not None:
        right, clipset = scoring.right(run.predictions, run.plan.classes)
        counted = sizes.parameters(run.plan, channels)
    number = seed.removeprefix("seed-")
    return Row(
        name=run.name,
        page=f"runs/{run.name}.html",
        experiment=experiment,
        variant=variant,
        data=data,
        protocol=protocol,
        seed=int(number) if number.isdigit() else -1,
        state=run.state,
        problem=run.problem,
        done=run.done,
        folds=len(run.states),
        clips=whole.clips if whole else 0,
        subsets=subsets,
        scores=whole.scores if whole else {},
        intervals=whole.intervals if whole else {},
        spotting=spotting["scores"][0] if spotting else {},
        date=max(run.said("date"), default=""),
        commits=run.said("commit"),
        dirty="True" in run.said("dirty"),
        seconds=run.seconds,
        synthetic=run.synthetic,
        parameters=counted,
        right=right,
        clipset=clipset,
    )


def _subset(subset: scoring.Subset) -> dict[str, Any]:
    return {
        "name": subset.name,
        "clips": subset.clips,
        "scores": subset.scores,
        "intervals": subset.intervals,
    }
