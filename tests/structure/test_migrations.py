"""A database of every released schema comes to the newest one with its rows, and is then like a new one."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import inspect

from lightwatch.structure import schema, upgrade
from lightwatch.structure.database import open_engine, quick_check, transaction

ROWS = {
    "frames": {
        "id": 1, "content_hash": "c", "original_image_path": "/raw/a.fits", "image_relpath": "frames/a.fits",
        "mjd": 60000.0, "mjd_mid": 60000.1, "exptime": 30.0, "gain": 1.0, "naxis1": 9, "naxis2": 9, "recipe": "r",
    },
    "combined_footprint": {"hash": "h", "strategy": "ROI_disk", "definition": "{}", "is_current": 1},
    "normalization_coefficients": {
        "combined_footprint_hash": "h", "frame_id": 1, "filter": "r", "coefficient": 0.9, "n_stars": 5, "recipe": "r",
    },
}  # fmt: skip


@pytest.fixture(params=["0001"])
def migrated(request, tmp_path):
    """A database with some rows, left by the version of a revision, and upgraded."""
    engine = open_engine(f"sqlite:///{tmp_path / 'database.sqlite3'}")
    with transaction(engine) as connection:
        config = upgrade._alembic()
        config.attributes["connection"] = connection
        command.upgrade(config, request.param)
        for table, row in ROWS.items():
            marks = ", ".join("?" * len(row))
            connection.exec_driver_sql(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
    assert upgrade.upgrade(engine)
    yield engine
    assert quick_check(engine, full=True) == []
    engine.dispose()


def test_rows_survive_and_new_columns_are_unknown(migrated):
    with migrated.connect() as connection:
        row = connection.execute(schema.normalization_coefficients.select()).mappings().one()
        assert row["coefficient"] == 0.9
        assert row["psf_uncertainty"] is None


def test_tables_are_those_of_a_new_database(migrated, tmp_path):
    new = open_engine(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    schema.metadata.create_all(new)
    one, other = inspect(migrated), inspect(new)
    for name in schema.metadata.tables:
        columns = [
            {(c["name"], str(c["type"]), c["nullable"]) for c in i.get_columns(name)} for i in (one, other)
        ]
        assert columns[0] == columns[1], name
        assert {i["name"] for i in one.get_indexes(name)} == {i["name"] for i in other.get_indexes(name)}, (
            name
        )
    new.dispose()


def test_infinities_are_refused_in_added_columns(migrated):
    with pytest.raises(Exception, match="finite_psf_uncertainty"), transaction(migrated) as connection:
        connection.exec_driver_sql("UPDATE normalization_coefficients SET psf_uncertainty = 9e999")
