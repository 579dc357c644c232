"""The same cutouts through lightwatch and through other programs, each in its own environment."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from accuracy import fit, measure, psf_rms
from cutout_sets import SKY_SIGMA, CutoutSet, SetSpec, make_set
from scores import FluxScore, score_fluxes
from simulated_truth import unit_stars

HERE = Path(__file__).resolve().parent
OTHER_PYTHON = HERE.parent / ".venv-bench" / "bin" / "python"
PROGRAMS = {"starred": "STARRED", "photutils": "photutils"}
REPEATS = 5  # of lightwatch, whose times are short

FEW = SetSpec("", fwhm_px=3.4, size_px=24, n_frames=4, n_measured=8)
SETS = (replace(FEW, name="FWHM 3.4 px, S/N 100 to 1000"),)
FURTHER_SETS = (
    replace(FEW, name="FWHM 3.4 px, S/N 30 to 100", psf_snr=(30.0, 100.0)),
    replace(FEW, name="FWHM 2.0 px, S/N 100 to 1000", fwhm_px=2.0),
    replace(FEW, name="FWHM 5 px, S/N 200 to 2000", fwhm_px=5.0, psf_snr=(200.0, 2000.0)),
)


@dataclass(frozen=True)
class Result:
    """Of one program on one set; CPU seconds per frame and per measurement."""

    program: str
    rms: np.ndarray  # (F,)
    fluxes: FluxScore
    psf_cpu_s: float
    flux_cpu_s: float


def compare(spec: SetSpec, seed: int, batch_size: int) -> list[Result]:
    """lightwatch first, then what is installed."""
    cutouts = make_set(spec, seed)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.npz"
        _write(source, cutouts)
        others = [_other(name, source, cutouts) for name in PROGRAMS if installed(name)]
    return [_ours(cutouts, batch_size), *others]


def installed(program: str) -> bool:
    """Whether the environment of the other programs has this one."""
    if not OTHER_PYTHON.exists():
        return False
    found = f"import importlib.util as u, sys; sys.exit(u.find_spec({program!r}) is None)"
    return subprocess.run([OTHER_PYTHON, "-c", found], check=False).returncode == 0


def version(program: str) -> str:
    """Of an installed program."""
    package = {"starred": "starred-astro"}.get(program, program)
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run(
        [OTHER_PYTHON, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _ours(cutouts: CutoutSet, batch_size: int) -> Result:
    """Timed after a first call: programs are compiled once for good, not once per night."""
    measure(cutouts, fit(cutouts, batch_size))
    moments = []
    for _ in range(REPEATS):
        moments.append(time.process_time())
        fits = fit(cutouts, batch_size)
        moments.append(time.process_time())
        fluxes = measure(cutouts, fits)
    spent = np.diff([*moments, time.process_time()])
    return Result(
        program="lightwatch",
        rms=psf_rms(cutouts, fits),
        fluxes=score_fluxes(fluxes.flux, fluxes.flux_uncertainty, cutouts.flux, cutouts.bound),
        psf_cpu_s=float(np.median(spent[::2])) / len(fits),
        flux_cpu_s=float(np.median(spent[1::2])) / fluxes.flux.size,
    )


def _other(program: str, source: Path, cutouts: CutoutSet) -> Result:
    out = run_other(program, source)
    return Result(
        program=program,
        rms=out["rms"],
        fluxes=score_fluxes(out["flux"], out["claimed"], cutouts.flux, cutouts.bound),
        psf_cpu_s=float(out["psf_cpu_s"]) / len(out["rms"]),
        flux_cpu_s=float(out["flux_cpu_s"]) / out["flux"].size,
    )


def run_other(job: str, source: Path) -> dict[str, np.ndarray]:
    """Run in the other environment; arrays go there and come back in files."""
    target = source.with_name(f"{job}.npz")
    command = [str(part) for part in (OTHER_PYTHON, HERE / "other_programs.py", job, source, target)]
    environment = os.environ | {"MPLBACKEND": "Agg", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{job} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    with np.load(target, allow_pickle=False) as out:
        return dict(out)


def _write(path: Path, cutouts: CutoutSet) -> None:
    size = cutouts.spec.size
    images, x, y = zip(*(unit_stars(psf, size) for psf in cutouts.psfs), strict=True)
    np.savez(
        path, stars=cutouts.stars.data, measured=cutouts.measured.data, sky_variance=SKY_SIGMA**2,
        fwhm_px=cutouts.stars.fwhm_px, truth=np.array(images), x=x[0], y=y[0],
    )  # fmt: skip
