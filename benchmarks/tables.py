"""The tables of ``make bench`` in Markdown."""

from __future__ import annotations

import numpy as np
from accuracy import Row
from comparison import PROGRAMS, Result
from cutout_sets import SetSpec
from roi_comparison import RoiResult
from scaling import Cost

NOT_INSTALLED = "not installed"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """Columns padded, so that the text is readable as it is."""
    cells = [header, *rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    rule = "|" + "|".join("-" * (w + 2) for w in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def accuracy_table(rows: list[Row]) -> str:
    """One line per set."""
    header = [
        "Set", "px", "PSF error %, median", "worst", "chi2 of other stars", "flux scatter / CRLB", "pulls",
        "bias below S/N 50, %", "frame scale %", "without PSF", "flagged",
    ]  # fmt: skip
    return markdown(header, [_accuracy_line(row) for row in rows])


def _accuracy_line(row: Row) -> list[str]:
    f = row.fluxes
    found = row.rms[np.isfinite(row.rms)]
    median, worst = (np.median(found), found.max()) if len(found) else (np.nan, np.nan)
    return [
        row.spec.name, str(row.spec.size), f"{100 * median:.2f}", f"{100 * worst:.2f}", f"{row.reserved_chi2:.3f}",
        f"{f.scatter:.2f} ({f.robust_scatter:.2f})", f"{f.pulls:.2f}",
        f"{100 * f.faint_bias:+.2f} ± {100 * f.faint_bias_error:.2f}", f"{100 * f.scale_scatter:.2f}",
        f"{len(row.rms) - len(found)} of {len(row.rms)}", str(row.flagged),
    ]  # fmt: skip


def comparison_table(sets: tuple[SetSpec, ...], results: list[list[Result]]) -> str:
    """One line per set and quantity, with ratios to lightwatch."""
    header = ["Set", "Quantity", "lightwatch"]
    for title in PROGRAMS.values():
        header += [title, f"{title} / lightwatch"]
    rows = []
    for spec, result in zip(sets, results, strict=True):
        by_program = {r.program: r for r in result}
        for name, digits, value in _QUANTITIES:
            ours = value(by_program["lightwatch"])
            cells = [spec.name, name, f"{ours:.{digits}g}"]
            for program in PROGRAMS:
                theirs = value(by_program[program]) if program in by_program else None
                cells += (
                    [NOT_INSTALLED, ""]
                    if theirs is None
                    else [f"{theirs:.{digits}g}", f"{theirs / ours:.3g}"]
                )
            rows.append(cells)
    return markdown(header, rows)


_QUANTITIES = (
    ("PSF error, median frame, %", 3, lambda r: 100 * np.nanmedian(r.rms)),
    ("flux scatter / CRLB", 3, lambda r: r.fluxes.scatter),
    ("pulls", 3, lambda r: r.fluxes.pulls),
    ("frame scale, %", 2, lambda r: 100 * r.fluxes.scale_scatter),
    ("CPU s per PSF", 3, lambda r: r.psf_cpu_s),
    ("CPU s per flux", 3, lambda r: r.flux_cpu_s),
)


def roi_table(title: str, results: list[RoiResult]) -> str:
    """One line per quantity, with the ratio to lightwatch."""
    by_program = {r.program: r for r in results}
    rows = []
    for name, digits, value in _ROI_QUANTITIES:
        ours = value(by_program["lightwatch"])
        cells = [title, name, f"{ours:.{digits}g}", NOT_INSTALLED, ""]
        if "starred" in by_program:
            theirs = value(by_program["starred"])
            cells[3:] = [f"{theirs:.{digits}g}", f"{theirs / ours:.3g}"]
        rows.append(cells)
    return markdown(["Set", "Quantity", "lightwatch", "STARRED", "STARRED / lightwatch"], rows)


_ROI_QUANTITIES = (
    ("rms after a constant / joint CRLB, mean of the images", 3, lambda r: r.ratio.mean()),
    ("the same, worst image", 3, lambda r: r.ratio.max()),
    ("constant, worst image, mag", 2, lambda r: np.abs(r.offset_mag).max()),
    ("CPU s, joint model", 3, lambda r: r.cpu_s),
)


def scaling_table(costs: list[Cost], memory_mb: float | None) -> str:
    """One line per case, and the memory below where it was measured."""
    header = [
        "Case", "PSF, CPU ms per frame", "flux, CPU ms per measurement", "frames per second",
        "part in compiled code", "first call, CPU s more", "compiled again",
    ]  # fmt: skip
    rows = [
        [
            c.spec.name, f"{c.psf_ms:.1f}", f"{c.flux_ms:.2f}", f"{1e3 / c.psf_wall_ms:.1f}",
            f"{c.compute_fraction:.2f}", f"{c.compile_cpu_s:.1f}", str(c.recompiled),
        ]
        for c in costs
    ]  # fmt: skip
    table = markdown(header, rows)
    if memory_mb is None:
        return table
    return f"{table}\n\nMemory: {memory_mb:.1f} MB per frame of 10 stars of 24 px, data included."
