"""What the zero points of a filter are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from lightwatch.pipeline.tasks.zeropoints import ZeropointInputs, compute
from lightwatch.structure.config import ZeroPoints

N_STARS = 12


def _inputs(catalog: str) -> ZeropointInputs:
    """Stars of 10 to 12 mag on one frame, whose true zero point is 25."""
    gmag = np.linspace(10.0, 12.0, N_STARS)
    flux = 10 ** (-0.4 * (gmag - 25.0))
    unknown = np.full(N_STARS, np.nan)
    return ZeropointInputs(
        frames=[{"id": 1}],
        coefficients=[{"frame_id": 1, "coefficient": 1.0, "coefficient_uncertainty": 0.001}],
        star_ids=np.arange(N_STARS),
        flux=flux,
        flux_uncertainty=0.001 * flux,
        frame_flux=flux[None],
        frame_flux_uncertainty=0.001 * flux[None],
        gmag=gmag,
        bmag=unknown,
        rmag=unknown,
        catalog=catalog,
        settings=ZeroPoints(band="G"),
        stored_scale=None,
    )


@pytest.mark.parametrize(
    ("catalog", "system"), [("gaia", "Vega"), ("mine", "Vega"), ("frames", "instrumental")]
)
def test_stars_of_the_frames_themselves_make_no_calibrated_magnitudes(catalog, system):
    output = compute(_inputs(catalog)).output
    assert output.scale.zeropoint[0] == pytest.approx(25.0, abs=1e-6)
    assert output.band.system == system
