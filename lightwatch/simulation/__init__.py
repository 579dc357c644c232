"""Simulated fields with known truth: frames, star table, truth tables and a config that runs.

    from lightwatch.simulation import FieldSpec, simulate_field
    field = simulate_field("demo", n_frames=20, seed=1)

Everything is drawn from generators keyed by (seed, purpose, index): frame k is the same whatever the
number of frames asked for.
"""

from lightwatch.simulation.field import SimulatedField, simulate_field
from lightwatch.simulation.frame import SimulatedFrame, joint_flux_bound, simulate_frame
from lightwatch.simulation.sky import draw_galaxies, draw_stars
from lightwatch.simulation.spec import (
    FieldSpec,
    PointSource,
    RoiSpec,
    Transit,
    empty_roi,
    lens_roi,
    transit_roi,
)

__all__ = [
    "FieldSpec",
    "PointSource",
    "RoiSpec",
    "SimulatedField",
    "SimulatedFrame",
    "Transit",
    "draw_galaxies",
    "draw_stars",
    "empty_roi",
    "joint_flux_bound",
    "lens_roi",
    "simulate_field",
    "simulate_frame",
    "transit_roi",
]
