"""The reference catalogue as it was when the stars were chosen: a product of the workdir like any other."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from lightwatch.errors import CatalogError, ProductError
from lightwatch.structure.catalogs_table import ReferenceCatalog, fill_catalog, read_catalog
from lightwatch.structure.files import write_atomically

#: begins the last line, a comment of ECSV; the checksum of all lines above follows
_CHECKSUM = b"# sha256 "


def write_pinned(path: Path, catalog: ReferenceCatalog) -> None:
    """Write a table that ends with a checksum of itself; it appears whole or not at all.

    Raises StorageError.
    """

    def fill(temporary: Path) -> None:
        fill_catalog(temporary, catalog)
        text = temporary.read_bytes()
        temporary.write_bytes(text + _last_line(text))

    write_atomically(path, fill)


def read_pinned(workdir: Path, relpath: str, digest: str | None) -> ReferenceCatalog:
    """The catalogue that a footprint was made with.

    Raises
    ------
    ProductError
        When it is missing, its content is not the one of ``digest``, or any byte of the file has changed.
    """
    path = workdir / relpath
    try:
        catalog = read_catalog(path)
        whole = digest in (None, catalog.digest) and _is_whole(path.read_bytes())
        reason = "" if whole else "its content has changed"
    except CatalogError as error:
        reason = str(error)
    if reason:
        code = "damaged_product" if path.is_file() else "missing_product"
        raise ProductError(
            code, f"{path}: cannot be read ({reason}); 'lightwatch verify --repair' remakes it", relpath
        )
    return catalog


def _is_whole(text: bytes) -> bool:
    """Whether the checksum is that of the lines above it; tables of early versions have none."""
    start = text.rfind(b"\n", 0, -1) + 1
    last = text[start:]
    return last.endswith(b"\n") and (not last.startswith(b"#") or last == _last_line(text[:start]))


def _last_line(text: bytes) -> bytes:
    return _CHECKSUM + sha256(text).hexdigest().encode() + b"\n"
