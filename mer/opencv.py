"""OpenCV, imported when it is first needed, so that only what uses it needs its system libraries."""

from threading import Lock
from types import ModuleType

from mer.errors import MerError

# cv2 takes its place in sys.modules while it is half imported: threads that come then would see it so.
_importing = Lock()


def import_opencv() -> ModuleType:
    """``cv2``.

    Raises:
        MerError: the system lacks libGL, which the contrib wheels link to.
    """
    try:
        with _importing:
            import cv2
    except ImportError as error:
        if "libGL" in str(error):
            raise MerError("OpenCV needs the system library libGL: apt-get install libgl1") from error
        raise
    return cv2
