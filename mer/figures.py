"""``mer figures``: pictures of what the data become, for looking at and for papers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from kornia.geometry.transform import resize
from torch import Tensor
from torchvision.utils import flow_to_image

from mer import config, spotting_pictures
from mer.data.encoding_batches import frame_numbers
from mer.data.faces import Face
from mer.data.frames import read_clip
from mer.encodings import ActiveImage, AffectiveMotionImage, ApexFlow, DynamicImage
from mer.encodings.apex_flow import grey, optical_strain, tvl1_flow
from mer.encodings.scaling import min_max
from mer.errors import MerError
from mer.figure_kinds import feature_maps, grad_cam, network_diagram
from mer.figure_kinds.paper_figures import FIGURES
from mer.plots import image_sheet, save_figure
from mer.prepare import read_table, ready_clips

SIDE = 168  # pixels of each picture in a sheet
USAGE = """usage: mer figures encodings [overrides of `mer train`]
       mer figures spotting <run folder> [--video NAME]...
       mer figures affectivenet|originet|learnet [--figure N]... [--run FOLDER]... [--clip NAME]...
                   [overrides]
       mer figures grad-cam [--run FOLDER] [--clip NAME]... [--layer NAME] [overrides]
       mer figures diagram <network> [overrides]

encodings  for a clip of each class: its frames, each encoding, the flow as a colour wheel, the strain
           (hue is the flow's direction, saturation its length relative to the clip's longest)
spotting   for each video named, or the first: frames, true and predicted intensity and states over time,
           true and spotted intervals; of a network with context contrast that was trained with
           save_checkpoint=true also its contrast maps at each apex, beside the frame
affectivenet, originet, learnet
           figures of the paper by their numbers, all without --figure: feature maps of its first and
           multi-scale layers for a clip of each class, and of the networks beside it; activation curves
grad-cam   where in the encoded clip the true and the predicted class are seen, by the last convolution
           or --layer
diagram    a network's layers, shapes and parameters, drawn from the module; as PNG and as SVG

--clip NAME is <subject>/<clip>. --run FOLDER takes the weights of a run trained with save_checkpoint=true,
for each clip those of the fold that tested it; without, weights are random. A paper's figure takes several
runs, one a network that it shows. With --run the run's own config decides, and overrides only say where the
data are.

The picture goes to <runs_dir>/figures/, those of a run to <run folder>/figures/. Frames of people are
licensed: do not publish it without looking."""


def main(arguments: Sequence[str]) -> None:
    """Draw one kind of figure and print the path of each.

    Raises:
        MerError: an unknown figure, or bad input.
    """
    if not arguments or set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return
    name, *rest = arguments
    if name == "encodings":
        paths = [draw_encodings(rest)]
    elif name == "spotting":
        paths = spotting_pictures.draw(rest)
    elif name == "diagram":
        paths = network_diagram.draw(rest)
    elif name == "grad-cam":
        paths = [grad_cam.draw(rest)]
    elif name in FIGURES:
        paths = feature_maps.draw(name, rest)
    else:
        kinds = ", ".join(["encodings", "spotting", *FIGURES, "grad-cam", "diagram"])
        raise MerError(f"no figure {name!r}; there is {kinds}")
    for path in paths:
        print(path)


def draw_encodings(overrides: Sequence[str]) -> Path:
    """The sheet of a clip of each class; returns its path."""
    cfg = config.compose(overrides)
    table = read_table(cfg)
    if "frames" not in table.mapped.columns:
        raise MerError(
            f"data={cfg.data.name}: these clips are encoded images already; there are no frames to show"
        )
    # One clip a class, before faces and apexes are looked for: nobody waits for the other clips.
    chosen = table.mapped.drop_duplicates("label").set_index("label", drop=False)
    chosen = chosen.loc[[name for name in table.classes if name in chosen.index]].reset_index(drop=True)
    ready = ready_clips(cfg, dataclasses.replace(table, mapped=chosen), ApexFlow())
    faces: Sequence[Face | None] = ready.faces or [None] * len(ready.clips)
    pictures, captions = [], []
    numbers = frame_numbers(ready.clips, DynamicImage())
    for (_, row), face, there in zip(ready.clips.iterrows(), faces, numbers, strict=True):
        for caption, picture in show_clip(row, face, list(there)):
            captions.append(caption)
            pictures.append(resize(picture, (SIDE, SIDE), antialias=True)[0].clamp(0, 255))
    whose = "SYNTHETIC DATA" if table.synthetic else cfg.data.name
    title = f"{whose}: a clip of each class, and its encodings"
    columns = len(captions) // len(ready.clips)
    path = Path(cfg.runs_dir) / "figures" / f"encodings-{cfg.data.name}.png"
    save_figure(image_sheet(torch.stack(pictures).numpy(), captions, title, columns), path)
    return path


def show_clip(row: pd.Series, face: Face | None, numbers: list[int]) -> list[tuple[str, Tensor]]:
    """Caption and picture (1, 3, H, W), 0..255, of the frames ``numbers`` of a clip, and of its encodings."""
    clip = read_clip(Path(row["frames"]), numbers, grey=False, face=face, threads=1)[None]
    at = numbers.index(int(row["apex"]))
    last = len(numbers) - 1
    places = {"onset": 0, "rising": at // 2, "apex": at, "falling": (at + last) // 2, "offset": last}
    who = f"{row['label']}\n{row['database']}/{row['subject']}/{row['clip']}"
    shown = [
        (f"{who if name == 'onset' else ''}\n{name}, frame {numbers[place]}".strip(), clip[:, place].float())
        for name, place in places.items()
    ]
    lengths = torch.tensor([len(numbers)])
    encodings = {
        "dynamic image": DynamicImage(),
        "affective-motion image": AffectiveMotionImage(),
        "active image": ActiveImage(),
    }
    shown += [(name, encoding(clip, lengths)) for name, encoding in encodings.items()]
    onset, apex = clip[:, 0], clip[:, at]
    flow = tvl1_flow(grey(onset), grey(apex))
    longest = float(flow.square().sum(1).sqrt().max())
    wheel = flow_to_image(flow).float()
    strain = min_max(optical_strain(flow)).expand(-1, 3, -1, -1)
    pair = torch.stack([onset, apex], dim=1)
    return [
        *shown,
        (f"flow onset to apex,\nlongest {longest:.2f} px", wheel),
        ("optical strain", strain),
        ("apex flow (u, v, strain)", ApexFlow()(pair, torch.tensor([2]))),
    ]
