"""The reference catalogue as it was when the stars were chosen: a product of the workdir like any other."""

from __future__ import annotations

from pathlib import Path

from lightwatch.errors import CatalogError, ProductError
from lightwatch.structure.catalogs_table import ReferenceCatalog, read_catalog


def read_pinned(workdir: Path, relpath: str, digest: str | None) -> ReferenceCatalog:
    """The catalogue that a footprint was made with.

    Raises
    ------
    ProductError
        When it is missing, or its content is not the one of ``digest``.
    """
    path = workdir / relpath
    try:
        catalog = read_catalog(path)
        whole = path.read_bytes().endswith(b"\n") and digest in (None, catalog.digest)
        reason = "" if whole else "its content has changed"
    except CatalogError as error:
        reason = str(error)
    if reason:
        code = "damaged_product" if path.is_file() else "missing_product"
        raise ProductError(
            code, f"{path}: cannot be read ({reason}); 'lightwatch verify --repair' remakes it", relpath
        )
    return catalog
