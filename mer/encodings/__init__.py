"""Encodings: a clip becomes one image, or small frames. One file each: a pure function and a thin module.

Every module takes ``(clips, lengths)`` and says in its attributes what it needs and what it gives:

- ``reads``, which frames it must be given: ``clip`` (all from onset to offset) or ``onset_apex`` (two);
- ``gives``: ``image`` (B, C', H', W') or ``sequence`` (B, T, C', H', W');
- ``masks_eyes``: whether it takes ``(clips, lengths, eyes)``, the polygons of ``eye_mask``.
"""

from mer.encodings.active_image import ActiveImage as ActiveImage
from mer.encodings.affective_motion_image import AffectiveMotionImage as AffectiveMotionImage
from mer.encodings.apex_flow import ApexFlow as ApexFlow
from mer.encodings.bi_woof import BiWOOF as BiWOOF
from mer.encodings.dynamic_image import DynamicImage as DynamicImage
from mer.encodings.frame_sequence import FrameSequence as FrameSequence
from mer.encodings.frames_and_flow import FramesAndFlow as FramesAndFlow
from mer.encodings.lbp_top import LBPTOP as LBPTOP
from mer.encodings.still_frame import StillFrame as StillFrame

__all__ = [
    "LBPTOP",
    "ActiveImage",
    "AffectiveMotionImage",
    "ApexFlow",
    "BiWOOF",
    "DynamicImage",
    "FrameSequence",
    "FramesAndFlow",
    "StillFrame",
]
