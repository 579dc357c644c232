"""On what scale magnitudes are: the column ``system`` of zero points and catalogue photometry."""

from __future__ import annotations

#: no catalogue stands behind the magnitudes: their stars were measured on the frames themselves
INSTRUMENTAL = "instrumental"
SYSTEM_COMMENT = f"AB, Vega, or {INSTRUMENTAL} where the stars are those of the frames themselves"
