"""Light curves as files for other programs: ECSV, FITS, VOTable, CSV, Parquet, AAVSO."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from astropy.table import Table

from lightwatch.errors import ConfigError, NoUsableData
from lightwatch.report import aavso, table_files
from lightwatch.report.check_star import check_star
from lightwatch.report.light_curve_table import (
    by_roi_and_filter,
    light_curve_rows,
    light_curve_table,
    magnitude_system,
    metadata,
    nightly_table,
)
from lightwatch.report.places import with_places
from lightwatch.structure.config_file import refuse_unwritable_name
from lightwatch.structure.files import write_atomically
from lightwatch.structure.light_curve_columns import LIGHT_CURVE, NIGHTLY
from lightwatch.structure.light_curve_files import write_ecsv, write_fits
from lightwatch.structure.magnitude_systems import INSTRUMENTAL
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace

Writer = Callable[[Table, dict[str, str | float], Path], None]

#: format: (ending of the file, writer)
_TABLES: dict[str, tuple[str, Writer]] = {
    "ecsv": (".ecsv", write_ecsv),
    "fits": (".fits", write_fits),
    "votable": (".vot", table_files.write_votable),
    "csv": (".csv", table_files.write_csv),
    "parquet": (".parquet", table_files.write_parquet),
}
FORMATS = (*_TABLES, "aavso")


def export_light_curves(
    workspace: Workspace,
    out_dir: Path | str,
    formats: Iterable[str],
    roi: str | None = None,
    *,
    nightly: bool = False,
    observer_code: str | None = None,
) -> list[Path]:
    """Write a file per ROI, filter and format, and one of nightly means; existing ones are replaced.

    ``observer_code`` is for AAVSO files only. With CSV comes ``light_curve_columns.csv``, the meaning of its
    columns; the other formats carry that themselves.

    Raises
    ------
    ConfigError
        For a format or an ROI that is not known, and a directory whose path is not UTF-8; after the other formats for
        Parquet without pyarrow, and for AAVSO without a catalogue behind the magnitudes.
    NoUsableData
        When there is no light curve yet.
    StorageError
        When a file cannot be written.
    """
    wanted = list(dict.fromkeys(formats))
    _check(workspace, wanted, roi)
    rows = light_curve_rows(workspace, roi)
    if not rows:
        raise NoUsableData("no light curves yet: run the pipeline through model_calibrated_cutouts first")
    refused = _refused(workspace, wanted)
    wanted = [name for name in wanted if name not in refused]
    curves = by_roi_and_filter(with_places(workspace.reader, rows))
    folder = Path(out_dir)
    refuse_unwritable_name(folder)
    written: list[Path] = []
    for key, stem in _stems(list(curves)).items():
        written += _export(workspace, curves[key], folder / stem, wanted, nightly, observer_code)
    if "csv" in wanted:
        path = folder / "light_curve_columns.csv"
        columns = [*LIGHT_CURVE, *(c for c in NIGHTLY if c.name not in {known.name for known in LIGHT_CURVE})]
        write_atomically(path, partial(table_files.write_column_dictionary, columns))
        written.append(path)
    if refused:
        others = f"; the other formats are in {folder}" if wanted else ""
        raise ConfigError([f"{reason}{others}" for reason in refused.values()])
    return written


def _refused(workspace: Workspace, wanted: Sequence[str]) -> dict[str, str]:
    """Formats that cannot be written here, and why and what to do."""
    reasons = {}
    if "parquet" in wanted and not table_files.has_parquet():
        reasons["parquet"] = "parquet needs pyarrow: pip install pyarrow"
    # the format knows standard magnitudes and differences to a named star; what it calls STD must not be invented
    if "aavso" in wanted and magnitude_system(workspace).get("system") == INSTRUMENTAL:
        reasons["aavso"] = (
            "aavso: these magnitudes are on a scale of the frames' own (instrumental), no standard ones; set "
            "reference_stars.catalog to a catalogue (gaia, vizier or a table) with zeropoints.band, and run again"
        )
    return reasons


def _check(workspace: Workspace, formats: Sequence[str], roi: str | None) -> None:
    problems = [
        f"unknown format '{name}': choose among {', '.join(FORMATS)}"
        for name in formats
        if name not in FORMATS
    ]
    if not formats:
        problems.append(f"no format given: choose among {', '.join(FORMATS)}")
    if roi is not None and roi not in workspace.config.rois:
        problems.append(f"no ROI '{roi}': the config has {', '.join(workspace.config.rois)}")
    if problems:
        raise ConfigError(problems)


def _export(
    workspace: Workspace,
    rows: Sequence[Row],
    stem: Path,
    formats: Sequence[str],
    nightly: bool,
    observer_code: str | None,
) -> list[Path]:
    head = metadata(workspace, rows)
    tables = {stem.name: light_curve_table(rows)}
    if nightly:
        tables[f"{stem.name}_nightly"] = nightly_table(workspace, rows)
    written = []
    for name in (name for name in formats if name in _TABLES):
        ending, writer = _TABLES[name]
        for base, table in tables.items():
            path = stem.with_name(base + ending)
            write_atomically(path, partial(_write, writer, table, head))
            written.append(path)
    if "aavso" in formats:
        path = stem.with_name(f"{stem.name}_aavso.txt")
        sources = dict.fromkeys(row["point_source"] for row in rows)
        checks = {
            name: check_star(workspace, [row for row in rows if row["point_source"] == name])
            for name in sources
        }
        write_atomically(path, partial(aavso.write_aavso, rows, head, checks, observer_code))
        written.append(path)
    return written


def _write(writer: Writer, table: Table, head: dict[str, Any], path: Path) -> None:
    writer(table, head, path)


def _stems(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A file name per ROI and filter that holds nothing hostile and is nobody else's."""
    joined = {key: "_".join(part for part in key if part) for key in keys}
    plain = {
        key: re.sub(r"[^A-Za-z0-9_+-]+", "_", text).strip("_")[:80] or "roi" for key, text in joined.items()
    }
    uses = Counter(text.lower() for text in plain.values())
    return {
        key: text
        if text == joined[key] and uses[text.lower()] == 1
        else f"{text}-{sha256(repr(key).encode()).hexdigest()[:8]}"
        for key, text in plain.items()
    }
