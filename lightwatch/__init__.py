"""lightwatch: calibrated light curves from frames of one field, night after night."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightwatch.pipeline.psf_of_frame import psf_at as psf_at
    from lightwatch.pipeline.workflow_manager import WorkflowManager as WorkflowManager
    from lightwatch.structure.workspace import Workspace as Workspace

__version__ = "0.1.0"
__all__ = ["WorkflowManager", "Workspace", "__version__", "psf_at"]

_HOME = {
    "Workspace": "lightwatch.structure.workspace",
    "WorkflowManager": "lightwatch.pipeline.workflow_manager",
    "psf_at": "lightwatch.pipeline.psf_of_frame",
}


def __getattr__(name: str) -> Any:
    # imported on first use: `import lightwatch` must stay fast and touch nothing
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'lightwatch' has no attribute {name!r}")
