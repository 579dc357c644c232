"""What a user's header parser can do, for the measurement of R26: its source, and the reason that must be given."""

from __future__ import annotations

GOOD = """{"exptime": header["EXPTIME"], "gain": header["GAIN"], "mjd": header["MJD-OBS"], "filter": header["FILTER"],
            "read_noise": header["RDNOISE"], "saturation": header["SATURATE"]}"""

#: what it does with a frame whose OBJECT is VICTIM; and reason code and a part of the text, where the frame is lost
FAULTS = {
    "raises": ("raise ValueError('no')", ("bad_meta:parser", "ValueError: no")),
    "misses a keyword": ("return header['NOT-THERE']", ("bad_meta:parser", "NOT-THERE")),
    "exits": ("import sys; sys.exit(1)", ("bad_meta:parser", "SystemExit")),
    "returns a list": ("return [1, 2]", ("bad_meta:parser", "returned list")),
    "returns nothing": ("return None", ("bad_meta:parser", "returned NoneType")),
    "wrong types": (
        "return {'exptime': [1], 'gain': {}, 'mjd': object()}",
        ("bad_meta:exptime", "expected seconds"),
    ),
    "endless loop": ("while True: pass", ("bad_meta:parser", "did not end within 10 s")),
    "sleeps": ("import time; time.sleep(3600)", ("bad_meta:parser", "did not end within 10 s")),
    "ends its process": ("import os; os._exit(3)", ("worker_died", "exit code 3")),
    "kills its process": ("import os; os.kill(os.getpid(), 11)", ("worker_died", "signal 11")),
    "recurses": ("return parse_header(header)", ("bad_meta:parser", "RecursionError")),
    "takes all memory": ("return bytearray(64_000_000_000)", ("bad_meta:parser", "MemoryError")),
    "huge text": (f"return {{**{GOOD}, 'object': 'x' * 200_000_000}}", ("bad_meta:object", "expected")),
    "prints": (f"[print('x' * 100_000) for _ in range(1000)]; return {GOOD}", None),
    "alters the header": (f"good = {GOOD}; header['CRVAL1'] = 'x'; header.clear(); return good", None),
    "is slow": (f"import time; time.sleep(0.5); return {GOOD}", None),
}
#: sources that must not be run by the main process
AT_IMPORT = {
    "endless loop": "while True: pass",
    "exit": "import os; os._exit(3)",
    "memory": "x = bytearray(64_000_000_000)",
}


def source(fault: str) -> str:
    """A parser that is sound but for one object."""
    return (
        "def parse_header(header):\n"
        f"    if header.get('OBJECT') == 'VICTIM':\n        {FAULTS[fault][0]}\n"
        f"    return {GOOD}\n"
    )
