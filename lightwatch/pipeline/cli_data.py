"""lightwatch catalog fetch, verify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightwatch.pipeline.cli_session import (
    ConfigArgument,
    JsonOption,
    printable,
    say,
    say_json,
    session_of,
)

if TYPE_CHECKING:
    from lightwatch.structure.catalogs import ReferenceCatalog
    from lightwatch.structure.verify import Repair, Verification
    from lightwatch.structure.workspace import Workspace

catalog_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Reference stars.")

_EXIT_DAMAGED = 1
_SHOWN = 20
_DEFAULT_RADIUS_ARCMIN = 30.0
_FAINTEST_G = 20.5


@catalog_app.callback()
def _catalog() -> None:
    """Reference stars."""


# ---------------------------------------------------------------- catalog
@catalog_app.command(
    epilog="Example: lightwatch catalog fetch --ra 42.2031 --dec 19.22528 --radius 20 --out gaia.ecsv"
)
def fetch(
    ctx: typer.Context,
    config: ConfigArgument = None,
    ra: Annotated[
        float | None, typer.Option(min=0, max=360, help="Degrees; default: the ROIs of CONFIG.")
    ] = None,
    dec: Annotated[float | None, typer.Option(min=-90, max=90, help="Degrees.")] = None,
    radius: Annotated[float, typer.Option(min=0.1, max=300, help="Arcminutes.")] = _DEFAULT_RADIUS_ARCMIN,
    out: Annotated[
        Path | None, typer.Option(help="Table to write; default: gaia.ecsv beside CONFIG.")
    ] = None,
    source: Annotated[str, typer.Option(help="gaia, or its mirror vizier.")] = "gaia",
    faintest: Annotated[float, typer.Option(help="Faintest G magnitude.")] = _FAINTEST_G,
) -> None:
    """Get the stars of a region from the Gaia archive into a table, to work offline."""
    from lightwatch.structure.catalogs import load_catalog, write_catalog

    if (ra is None) != (dec is None):
        raise typer.BadParameter("--ra and --dec belong together")
    if ra is None or dec is None:
        catalog, target = _fetch_for_workdir(session_of(ctx).open(config), source, radius, faintest)
        out = out or target
    else:
        from lightwatch.structure.catalogs import GAIA_SERVICES, NetworkSettings

        network = NetworkSettings(
            enabled=True, services=GAIA_SERVICES, connect_timeout_s=10.0, read_timeout_s=60.0,
            total_timeout_s=180.0, attempts=3, max_bytes=200_000_000, max_rows=500_000,
        )  # fmt: skip
        catalog = load_catalog(
            source, ra_deg=ra, dec_deg=dec, radius_deg=radius / 60, faintest_g_mag=faintest, cache_dir=None,
            network=network,
        )  # fmt: skip
        out = out or Path("gaia.ecsv")
    write_catalog(out, catalog, comments=(f"fetched by lightwatch, radius {radius:g} arcmin",))
    say(f"{len(catalog)} stars in {out}; use it by  reference_stars: {{catalog: {out.name}}}")


def _fetch_for_workdir(
    workspace: Workspace, source: str, radius_arcmin: float, faintest: float
) -> tuple[ReferenceCatalog, Path]:
    from lightwatch.pipeline.catalogs import network_settings, target_centre
    from lightwatch.structure.catalogs import load_catalog

    ra, dec, spread = target_centre(workspace)
    catalog = load_catalog(
        source, ra_deg=ra, dec_deg=dec, radius_deg=radius_arcmin / 60 + spread, faintest_g_mag=faintest,
        cache_dir=workspace.workdir / "catalogs", network=network_settings(workspace),
    )  # fmt: skip
    return catalog, workspace.config_path.parent / "gaia.ecsv"


# ---------------------------------------------------------------- verify
verify_epilog = (
    "Example: lightwatch verify ~/j0248 --full. Exit codes: 0 all is well; 1 something is missing or damaged."
)


def verify(
    ctx: typer.Context,
    config: ConfigArgument = None,
    full: Annotated[bool, typer.Option("--full", help="Read every byte and compare checksums.")] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Let the next run remake what is missing or damaged; remove old orphans."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Name every file, those that no row names too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the database with the files: what rows name is there, undamaged, and nothing else is."""
    from lightwatch.pipeline.tasks.roi_products import remembered_models
    from lightwatch.structure import verify as verification
    from lightwatch.structure.database import remark_on_sqlite

    workspace = session_of(ctx).open_existing(config)
    mended = None
    if repair:
        with workspace.lock():
            found = verification.verify(workspace, full=full, remembered=remembered_models(workspace))
            mended = verification.repair(workspace, found)
    else:
        found = verification.verify(workspace, full=full, remembered=remembered_models(workspace))
    if as_json:
        say_json({**asdict(found), "sound": found.sound, "repair": asdict(mended) if mended else None})
    else:
        _say_verification(found, verbose=verbose)
        remark = remark_on_sqlite() if full and workspace.database_path is not None else ""
        if remark:
            say(f"remark: {remark}")
        if mended:
            _say_repair(mended)
    raise typer.Exit(0 if found.sound else _EXIT_DAMAGED)


def _say_verification(found: Verification, *, verbose: bool) -> None:
    shown = None if verbose else _SHOWN
    for word, products in (("missing", found.missing), ("damaged", found.damaged)):
        for product in products[:shown]:
            say(f"{word}: {printable(product.relpath)} (of {product.task})")
        if shown is not None and len(products) > shown:
            say(f"{word}: and {len(products) - shown} more; --verbose names all")
    for relpath in found.orphan if verbose else ():
        say(f"orphan: {printable(relpath)}")
    if found.orphan:
        say(
            f"{len(found.orphan)} orphans: files that no row names, as after a changed setting: harmless; a run, and "
            "--repair, remove them when they are a day old" + "; --verbose names them" * (not verbose)
        )
    for problem in found.database[:shown]:
        say(f"database: {printable(problem)}")
    say(
        f"ok {found.ok}, orphan {len(found.orphan)}, "
        f"missing {len(found.missing)}, damaged {len(found.damaged)}"
    )


def _say_repair(mended: Repair) -> None:
    for relpath in mended.hopeless:
        say(f"cannot be remade, its raw file is gone: {printable(relpath)}")
    say(
        f"repair: {mended.pending} results are pending again, {len(mended.removed)} orphans removed; "
        f"the next run remakes what was missing or damaged"
    )
