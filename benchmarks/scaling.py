"""CPU time, compilation and memory of the PSF fit and the photometry, by frames, stars and size of cutouts."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from accuracy import fit, measure
from cutout_sets import SetSpec, make_set

from lightwatch.processes import psf_fit
from lightwatch.processes.psf_jax import jax

COMPILED = "/jax/core/compile/backend_compile_duration"
SEED = 20
REPEATS = 2
MEMORY_FRAMES = 4, 68

CASES = (
    SetSpec("1 frame, 10 stars, 24 px", fwhm_px=3.4, n_frames=1),
    SetSpec("4 frames, 10 stars, 24 px", fwhm_px=3.4, n_frames=4),
    SetSpec("16 frames, 10 stars, 24 px", fwhm_px=3.4, n_frames=16),
    SetSpec("64 frames, 10 stars, 24 px", fwhm_px=3.4, n_frames=64),
    SetSpec("16 frames, 5 stars, 24 px", fwhm_px=3.4, n_frames=16, n_stars=5),
    SetSpec("16 frames, 20 stars, 24 px", fwhm_px=3.4, n_frames=16, n_stars=20),
    SetSpec("16 frames, 40 stars, 24 px", fwhm_px=3.4, n_frames=16, n_stars=40),
    SetSpec("16 frames, 10 stars, 32 px", fwhm_px=4.5, n_frames=16),
    SetSpec("16 frames, 10 stars, 48 px", fwhm_px=6.5, n_frames=16),
    SetSpec("16 frames, 10 stars, 64 px", fwhm_px=9.0, n_frames=16),
)

MANY_FRAMES = SetSpec("1024 frames, 10 stars, 24 px", fwhm_px=3.4, n_frames=1024, n_measured=1)  # for a GPU


@dataclass
class Compilations:
    """Programs compiled so far in this process, and the seconds that took."""

    count: int = 0
    seconds: float = 0.0

    def listen(self) -> Compilations:
        def heard(event: str, duration: float, **_: object) -> None:
            if event == COMPILED:
                self.count += 1
                self.seconds += duration

        jax.monitoring.register_event_duration_secs_listener(heard)
        return self


@dataclass(frozen=True)
class Cost:
    """Of one case."""

    spec: SetSpec
    compile_cpu_s: float  # first call less later ones
    psf_ms: float  # CPU, per frame, after compilation
    flux_ms: float  # CPU, per measurement, after compilation
    psf_wall_ms: float
    compute_fraction: float  # of the wall time of the fit that is spent in compiled code
    recompiled: int  # programs compiled in later calls on other data of the same shapes


def cost(spec: SetSpec, batch_size: int, compilations: Compilations) -> Cost:
    """First call, then the same shapes with other data."""
    first, *others = (make_set(spec, SEED + k) for k in range(1 + REPEATS))
    start = time.process_time()
    measure(first, fit(first, batch_size))
    cold = time.process_time() - start
    known = compilations.count
    psf_cpu, psf_wall, flux_cpu, compute = [], [], [], []
    for cutouts in others:
        with time_in_compiled_code() as inside:
            start, wall = time.process_time(), time.perf_counter()
            fits = fit(cutouts, batch_size)
            psf_cpu.append(time.process_time() - start)
            psf_wall.append(time.perf_counter() - wall)
        compute.append(sum(inside) if inside else float("nan"))
        start = time.process_time()
        measure(cutouts, fits)
        flux_cpu.append(time.process_time() - start)
    psf, flux, wall = (sum(values) / REPEATS for values in (psf_cpu, flux_cpu, psf_wall))
    return Cost(
        spec=spec,
        compile_cpu_s=max(cold - psf - flux, 0.0),
        psf_ms=1e3 * psf / spec.n_frames,
        flux_ms=1e3 * flux / (spec.n_frames * spec.n_measured),
        psf_wall_ms=1e3 * wall / spec.n_frames,
        compute_fraction=sum(compute) / REPEATS / wall,
        recompiled=compilations.count - known,
    )


@contextmanager
def time_in_compiled_code() -> Iterator[list[float]]:
    """Seconds of wall time of every call of a compiled solver of the PSF fit, transfers not included.

    Data are on the device before the clock starts, and results are ready, but not fetched, when it stops.
    """
    original, seconds = psf_fit.solve_in_batches, []

    def timed(solver: Callable, items: object, **sizes: int) -> object:
        def clocked(block: object, count: int) -> object:
            jax.block_until_ready(block)
            start = time.perf_counter()
            result = jax.block_until_ready(solver(block, count))
            seconds.append(time.perf_counter() - start)
            return result

        return original(clocked, items, **sizes)

    with patch.object(psf_fit, "solve_in_batches", timed):
        yield seconds


def memory_per_frame_mb(batch_size: int) -> float:
    """Growth of the peak memory of a process with the number of frames of ten stars, data included."""
    with tempfile.TemporaryDirectory() as cache:
        few, many = MEMORY_FRAMES
        _peak_mb(few, batch_size, cache)  # compiles, for the next ones to find it
        return (_peak_mb(many, batch_size, cache) - _peak_mb(few, batch_size, cache)) / (many - few)


def _peak_mb(frames: int, batch_size: int, cache: str) -> float:
    command = [sys.executable, __file__, str(frames), str(batch_size), cache]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the peak memory (MB) of a fit: of the device where that keeps count, else of the process."""
    frames, batch_size, cache = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    jax.config.update("jax_compilation_cache_dir", str(cache))
    spec = SetSpec("memory", fwhm_px=3.4, n_frames=frames, n_measured=1)
    fit(make_set(spec, SEED), batch_size)
    on_device = jax.devices()[0].memory_stats() or {}
    print(on_device.get("peak_bytes_in_use", 0) / 1e6 or _peak_resident_mb())


def _peak_resident_mb() -> float:
    """Of this program alone: getrusage would tell the parent's, which was copied before this one began."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), float("nan"))


if __name__ == "__main__":
    main()
