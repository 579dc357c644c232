"""Scatter of the stars: which fluxes, and that no stated uncertainty falls below the photons'."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import update

from lightwatch.report.star_scatter import calibration_by_filter, star_scatter
from lightwatch.structure import queries, queries_report, schema
from lightwatch.structure.database import transaction

EXPTIME = 60.0


def fluxes(coefficient: float) -> list[dict]:
    """Twenty stars, each stated a tenth above its photons; the faint ones are seen on few frames."""
    rows = []
    for star, level in enumerate(np.geomspace(500, 5000, 20)):
        for frame in range(4 if star < 4 else 12):
            flux = level * coefficient
            rows.append({
                "star_gaia_id": star, "star": str(star), "filter": "r", "frame_id": frame, "flux": flux,
                "normalised_flux": level, "coefficient": coefficient, "exptime": EXPTIME, "flags": 0,
                "flux_uncertainty": 1.1 * np.sqrt(flux / EXPTIME),
            })  # fmt: skip
    return rows


@pytest.mark.parametrize("coefficient", [0.5, 1.0, 2.0])
def test_the_line_of_the_stated_uncertainty_is_above_that_of_the_photons_to_its_ends(coefficient):
    frame = {"filter": "r", "normalised_zeropoint": None, "exptime": EXPTIME, "coefficient": coefficient}
    (one,) = star_scatter(fluxes(coefficient), [], *calibration_by_filter([frame] * 12))
    photons = np.interp(one.mag, one.line_mag[::-1], one.photon_noise[::-1])
    np.testing.assert_allclose(one.stated / photons, 1.1, rtol=5e-3)
    np.testing.assert_allclose(one.stated, one.expected, rtol=1e-9)


def test_fluxes_are_those_that_the_normalization_rests_on(make_workdir, tmp_path):
    workspace = make_workdir(tmp_path / "w")
    with transaction(workspace.engine) as connection:
        connection.execute(
            update(schema.star_flux_in_frame).values(aperture_flux=7.0, aperture_flux_uncertainty=0.5)
        )
    by_psf = queries.rows(workspace.reader, queries_report.star_fluxes_on_frames())
    assert by_psf
    assert not any(row["flux"] == 7.0 for row in by_psf)
    with transaction(workspace.engine) as connection:
        connection.execute(update(schema.normalization_coefficients).values(flux_kind="aperture"))
    in_apertures = queries.rows(workspace.reader, queries_report.star_fluxes_on_frames())
    normalised = [row for row in in_apertures if row["coefficient"] is not None]
    assert normalised
    for row in normalised:
        assert (row["flux"], row["flux_uncertainty"]) == (7.0, 0.5)
        assert row["normalised_flux"] == pytest.approx(7.0 / row["coefficient"])
