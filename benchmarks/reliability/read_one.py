"""Read raw files in this process, and tell of each reason code, seconds and the largest resident size, MB: R24."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from lightwatch.errors import FrameError
from lightwatch.structure.frames import ReadLimits, read_frame

LIMITS = ReadLimits(header_bytes=10_000_000, data_bytes=4_000_000_000, inflation=20.0, hdus=1000)


def largest_mb() -> float:
    """Largest resident size of this program; what the system tells a parent counts the parent's own as well."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    for name in sys.argv[1:]:
        begun = time.monotonic()
        try:
            read_frame(Path(name), hdu_data=None, hdu_headers=None, hdu_bad_pixels=None, limits=LIMITS)
            verdict = "read"
        except FrameError as error:
            verdict = error.reason_code
        print(verdict, time.monotonic() - begun, largest_mb())
