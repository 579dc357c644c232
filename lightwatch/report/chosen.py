"""Which frames are shown, of the many that there are."""

from __future__ import annotations

from collections.abc import Sequence

from lightwatch.structure.queries import Row


def representative_frames(frames: Sequence[Row]) -> dict[int, str]:
    """Frame ids to why they are shown: the best, median and worst of what matters, and the newest."""
    usable = [row for row in frames if not row["eliminated"] and row["psf_chi2"] is not None]
    chosen: dict[int, str] = {}
    by_seeing = sorted(
        (row for row in usable if row["seeing_arcseconds"]), key=lambda row: row["seeing_arcseconds"]
    )
    by_chi2 = sorted(usable, key=lambda row: row["psf_reserved_chi2"] or row["psf_chi2"])
    for title, row in (
        ("newest", usable[-1] if usable else None),
        ("best seeing", by_seeing[0] if by_seeing else None),
        ("median seeing", by_seeing[len(by_seeing) // 2] if by_seeing else None),
        ("worst seeing", by_seeing[-1] if by_seeing else None),
        ("worst PSF", by_chi2[-1] if by_chi2 else None),
    ):
        if row is not None:
            chosen.setdefault(row["id"], title)
    return chosen


def representative_epochs(curves: Sequence[Row]) -> dict[int, str]:
    """Frame ids of a light curve to why their model is shown."""
    epochs = list({row["frame_id"]: row for row in curves}.values())
    epochs.sort(key=lambda row: row["mjd"])
    known = [row for row in epochs if row["reduced_chi2"] is not None]
    by_chi2 = sorted(known, key=lambda row: row["reduced_chi2"])
    by_seeing = sorted(
        (row for row in epochs if row["seeing_arcseconds"]), key=lambda row: row["seeing_arcseconds"]
    )
    chosen: dict[int, str] = {}
    for title, row in (
        ("newest", epochs[-1] if epochs else None),
        ("best seeing", by_seeing[0] if by_seeing else None),
        ("median χ²", by_chi2[len(by_chi2) // 2] if by_chi2 else None),
        ("worst seeing", by_seeing[-1] if by_seeing else None),
        ("worst χ²", by_chi2[-1] if by_chi2 else None),
        ("oldest", epochs[0] if epochs else None),
    ):
        if row is not None:
            chosen.setdefault(row["frame_id"], title)
    return chosen


def newest_night(frames: Sequence[Row], night_gap_days: float) -> list[int]:
    """Ids of the frames of the newest night, newest first; ``frames`` in order of time."""
    ids: list[int] = []
    for row, after in zip(frames[::-1], [None, *frames[::-1]], strict=False):
        if after is not None and after["mjd_mid"] - row["mjd_mid"] > night_gap_days:
            break
        ids.append(row["id"])
    return ids
