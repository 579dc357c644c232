"""Running astrometry.net's solve-field on a list of sources, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from lightwatch.errors import AstrometryError

_PROGRAM = "solve-field"
_CPU_SECONDS = 30
_BRIGHTEST = 200


def is_installed() -> bool:
    """Whether solve-field is on the PATH."""
    return shutil.which(_PROGRAM) is not None


def solve(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    nx: int,
    ny: int,
    *,
    ra: float,
    dec: float,
    radius: float,
    scale: tuple[float, float],
) -> str:
    """WCS cards found by solve-field from source positions (0-based px), hints in degrees and arcsec/px.

    Raises
    ------
    AstrometryError
        ``solve_field_failed`` when it finds nothing, or takes too long.
    """
    order = np.argsort(-flux)[:_BRIGHTEST]
    with tempfile.TemporaryDirectory(prefix="lightwatch-") as folder:
        listing = Path(folder) / "sources.xyls"
        # solve-field counts pixels from 1
        Table({"X": x[order] + 1, "Y": y[order] + 1, "FLUX": flux[order]}).write(listing, format="fits")
        command = [
            _PROGRAM, str(listing), "--dir", folder, "--width", str(nx), "--height", str(ny),
            "--x-column", "X", "--y-column", "Y", "--sort-column", "FLUX", "--no-plots", "--overwrite",
            "--cpulimit", str(_CPU_SECONDS), "--crpix-center",
        ]  # fmt: skip
        if np.isfinite(ra + dec + radius):
            command += ["--ra", str(ra), "--dec", str(dec), "--radius", str(radius)]
        if np.isfinite(scale[0] + scale[1]):
            command += [
                "--scale-units",
                "arcsecperpix",
                "--scale-low",
                str(scale[0]),
                "--scale-high",
                str(scale[1]),
            ]
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=4 * _CPU_SECONDS)  # noqa: S603
            return str(fits.getheader(listing.with_suffix(".wcs")).tostring())
        except (OSError, subprocess.SubprocessError) as error:
            raise AstrometryError(
                "solve_field_failed", f"solve-field found no solution: {type(error).__name__}"
            ) from None
