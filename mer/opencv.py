"""OpenCV, imported when it is first needed, so that only what uses it needs its system libraries."""

from types import ModuleType

from mer.errors import MerError


def import_opencv() -> ModuleType:
    """``cv2``.

    Raises:
        MerError: the system lacks libGL, which the contrib wheels link to.
    """
    try:
        import cv2
    except ImportError as error:
        if "libGL" in str(error):
            raise MerError("OpenCV needs the system library libGL: apt-get install libgl1") from error
        raise
    return cv2
