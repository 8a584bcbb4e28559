"""OpenCV is imported whole, whoever asks first."""

import subprocess
import sys


def test_threads_that_import_it_together_see_all_of_it() -> None:
    # One after the other, while the first is at it: cv2 is half there for some of that time.
    code = (
        "import time; from concurrent.futures import ThreadPoolExecutor\n"
        "from mer.opencv import import_opencv\n"
        "def look(number):\n"
        "    time.sleep(number / 200)\n"
        "    return import_opencv().data.haarcascades\n"
        "with ThreadPoolExecutor(100) as pool: assert len(set(pool.map(look, range(100)))) == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
