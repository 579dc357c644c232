"""Read one raw file in this process, and tell reason code and seconds: the measurement of R24."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lightwatch.errors import FrameError
from lightwatch.structure.frames import ReadLimits, read_frame

LIMITS = ReadLimits(header_bytes=10_000_000, data_bytes=4_000_000_000, inflation=20.0, hdus=1000)

if __name__ == "__main__":
    begun = time.monotonic()
    try:
        read_frame(Path(sys.argv[1]), hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=LIMITS)
        print("read", time.monotonic() - begun)
    except FrameError as error:
        print(error.reason_code, time.monotonic() - begun)
