"""What an image file says of itself before it is decoded: its format and size."""

from io import BytesIO
from typing import BinaryIO

from PIL import Image

from mer.errors import MerError

FORMATS = ("JPEG", "PNG", "BMP")
MOST_PIXELS = 1 << 26  # 8192x8192: a file of a hundred bytes may claim more than the memory holds


def image_header(file: BinaryIO | bytes) -> tuple[str, tuple[int, int]]:
    """The format, ``PNG``, and the (width, height) of an image, told by its content and not by its name.

    Raises:
        MerError: what it is, without the file's name: ``no image (UnidentifiedImageError)``.
    """
    try:
        with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
            header = image.format or "", image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MerError(f"too large for a frame ({error})") from error
    except Exception as error:  # a damaged header makes Pillow raise nearly anything
        raise MerError(f"no image ({type(error).__name__})") from error
    width, height = header[1]
    if width * height > MOST_PIXELS:
        raise MerError(f"too large for a frame ({width}x{height} pixels)")
    return header
