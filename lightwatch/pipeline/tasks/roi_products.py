"""Where the products of ROIs are, and which of them no row names although they are still read."""

from __future__ import annotations

from lightwatch.pipeline.task import digest_of
from lightwatch.structure import queries, queries_joint
from lightwatch.structure.files import safe_word
from lightwatch.structure.queries import Row
from lightwatch.structure.workspace import Workspace


def product_name(roi: str, filter_name: str) -> str:
    """Name of the files of an ROI and filter."""
    return safe_word(f"{roi}_{filter_name}" if filter_name else roi)


def model_path(result: Row) -> str:
    """Product of the model of a group, from its row of group_results.

    The digest knows the cutouts alone: with the recipe, a run of other settings that ends too early cannot leave
    its product in the place of the last one.
    """
    state = digest_of([result["digest"], result["recipe"]])
    footprint_hash = result["combined_footprint_hash"]
    roi, _, filter_name = result["group_key"].partition("|")
    return f"roi_models/{footprint_hash[:16]}/{product_name(roi, filter_name)}.{state[:8]}.h5"


def remembered_models(workspace: Workspace) -> set[str]:
    """Last models of all groups: new frames will join them, even where new cutouts have taken their row."""
    query = queries_joint.groups_done("model_calibrated_cutouts")
    return {model_path(row) for row in queries.rows(workspace.reader, query)}
