"""Encodings: a clip becomes one image. One file an encoding: a pure function and a thin module around it.

Every module takes ``(clips, lengths)``, gives images (B, C', H', W') and says in its class attribute
``reads`` which frames it must be given: ``clip`` (all from onset to offset) or ``onset_apex`` (two).
"""

from mer.encodings.apex_flow import ApexFlow as ApexFlow
from mer.encodings.dynamic_image import DynamicImage as DynamicImage
from mer.encodings.still_frame import StillFrame as StillFrame

__all__ = ["ApexFlow", "DynamicImage", "StillFrame"]
