"""Asking the Gaia archive or its mirror, within a budget of time, bytes and rows.

Protocol: IVOA TAP 1.1 (Dowler, Rixon, Tody & Demleitner 2019); nothing here is imported before a query.
"""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from lightwatch.errors import CatalogError
from lightwatch.structure.catalogs_table import ReferenceCatalog, catalog_of_table
from lightwatch.structure.frames_guard import shown

if TYPE_CHECKING:
    from astropy.table import Table

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0  # between attempts and between looks at a job
_MOST_REDIRECTS = 5
_RETRY_STATUS = {408, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class TapService:
    """A TAP service and how it spells the columns we want."""

    name: str
    url: str  # base: /sync and /async are below it
    table: str
    columns: tuple[tuple[str, str], ...]  # (our name, ADQL expression)


@dataclass(frozen=True)
class NetworkSettings:
    """How long, how much and whom to ask."""

    enabled: bool
    services: tuple[TapService, ...]  # in order of preference
    connect_timeout_s: float
    read_timeout_s: float  # without a byte
    total_timeout_s: float  # of one load_catalog, all services and attempts
    attempts: int  # per service
    max_bytes: int
    max_rows: int


@dataclass(frozen=True)
class Cone:
    """A region of the sky and a limit of brightness."""

    ra_deg: float
    dec_deg: float
    radius_deg: float
    faintest_g_mag: float | None


_GAIA_COLUMNS = (
    "source_id",
    "ra",
    "dec",
    "ref_epoch",
    "pmra",
    "pmdec",
    "phot_g_mean_mag",
    "phot_bp_mean_mag",
    "phot_rp_mean_mag",
    "phot_g_mean_flux_over_error",
    "astrometric_excess_noise",
    "astrometric_excess_noise_sig",
    "phot_variable_flag",
)
_VIZIER_COLUMNS = (
    ("source_id", "Source"),
    ("ra", "RA_ICRS"),
    ("dec", "DE_ICRS"),
    ("ref_epoch", "2016.0"),
    ("pmra", "pmRA"),
    ("pmdec", "pmDE"),
    ("phot_g_mean_mag", "Gmag"),
    ("phot_bp_mean_mag", "BPmag"),
    ("phot_rp_mean_mag", "RPmag"),
    ("phot_g_mean_flux_over_error", "FG/e_FG"),
    ("astrometric_excess_noise", "epsi"),
    ("astrometric_excess_noise_sig", "sepsi"),
    ("phot_variable_flag", "VarFlag"),
)
#: Gaia DR3 at ESA, and its copy at the CDS in Strasbourg
GAIA_SERVICES: tuple[TapService, ...] = (
    TapService(
        "gaia",
        "https://gea.esac.esa.int/tap-server/tap",
        "gaiadr3.gaia_source",
        tuple((column, column) for column in _GAIA_COLUMNS),
    ),
    TapService(
        "vizier",
        "https://tapvizier.cds.unistra.fr/TAPVizieR/tap",
        '"I/355/gaiadr3"',
        _VIZIER_COLUMNS,
    ),
)
RELEASE = "gaia_dr3"


def adql(service: TapService, cone: Cone, max_rows: int) -> str:
    """The query of a cone; every value in it is a number of ours."""
    spelt = dict(service.columns)
    wanted = ", ".join(f"{ours} AS {name}" if ours != name else name for name, ours in service.columns)
    limit = (
        "" if cone.faintest_g_mag is None else f" AND {spelt['phot_g_mean_mag']} <= {cone.faintest_g_mag:.3f}"
    )
    point = f"POINT('ICRS', {spelt['ra']}, {spelt['dec']})"
    circle = f"CIRCLE('ICRS', {cone.ra_deg:.6f}, {cone.dec_deg:.6f}, {cone.radius_deg:.6f})"
    return (
        f"SELECT TOP {max_rows + 1} {wanted} FROM {service.table} "  # noqa: S608 - numbers and constants only
        f"WHERE 1 = CONTAINS({point}, {circle}){limit}"
    )


def query_services(cone: Cone, network: NetworkSettings) -> tuple[ReferenceCatalog, TapService]:
    """The first complete and sound answer, and who gave it.

    All services are asked in turn, then all again after a pause; none may use up the time of those after it.
    Raises CatalogError: ``network_off``, ``network``, ``no_stars`` (every service has none), ``too_many_rows``.
    """
    if not network.enabled:
        raise CatalogError(
            "network_off", "network.offline is set and no catalogue in the cache covers the region"
        )
    deadline = time.monotonic() + network.total_timeout_s
    told: dict[str, str] = {}
    to_ask, empty = list(network.services), 0
    for attempt in range(network.attempts):
        if attempt and not _pause(attempt, deadline):
            break
        for later, service in zip(range(len(to_ask), 0, -1), tuple(to_ask), strict=True):
            now = time.monotonic()
            try:
                return _ask(service, cone, network, now + (deadline - now) / later), service
            except _TryAgain as error:
                told[service.name] = str(error)
                if error.after_s > min(_LONGEST_PAUSE_S, deadline - time.monotonic()):
                    to_ask.remove(service)
            except CatalogError as error:
                if error.reason_code == "too_many_rows":
                    raise
                told[service.name] = str(error)
                to_ask.remove(service)
                empty += error.reason_code == "no_stars"
    failures = "; ".join(f"{name}: {why}" for name, why in told.items()) or "no service is configured"
    if told and empty == len(told):
        raise CatalogError("no_stars", failures)
    raise CatalogError("network", f"no reference stars from the network: {failures}")


def _pause(attempt: int, deadline: float) -> bool:
    """Wait before an attempt, longer each time; False when the time would be over then."""
    seconds = min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S)
    if time.monotonic() + seconds >= deadline:
        return False
    time.sleep(seconds)
    return True


class _TryAgain(Exception):
    """A failure that may pass, not before ``after_s`` seconds where the service says so."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        self.after_s = after_s
        super().__init__(message)


def _ask(service: TapService, cone: Cone, network: NetworkSettings, deadline: float) -> ReferenceCatalog:
    query = adql(service, cone, network.max_rows)
    body = {
        "REQUEST": "doQuery",
        "LANG": "ADQL",
        "FORMAT": "votable",
        "QUERY": query,
        "MAXREC": str(network.max_rows + 1),
    }
    table, overflow = _parse(_fetch("POST", f"{service.url}/sync", body, network, deadline)[0])
    if overflow and len(table) <= network.max_rows:
        # a service may cut synchronous answers far below MAXREC; its queue does not
        table, overflow = _parse(_run_job(service, body, network, deadline))
    if overflow or len(table) > network.max_rows:
        raise CatalogError(
            "too_many_rows",
            f"{service.name}: more than {network.max_rows} stars; take a smaller radius or a brighter limit",
        )
    if len(table) == 0:
        raise CatalogError("no_stars", f"no star within {cone.radius_deg:.3f} deg")
    return catalog_of_table(table, name="gaia", release=RELEASE, where="the answer")


def _run_job(service: TapService, body: dict[str, str], network: NetworkSettings, deadline: float) -> bytes:
    """Submit to the service's queue (UWS), wait, fetch the result."""
    _, job = _fetch("POST", f"{service.url}/async", body | {"PHASE": "RUN"}, network, deadline)
    pause = _FIRST_PAUSE_S
    while True:
        phase = _fetch("GET", f"{job}/phase", None, network, deadline)[0].decode("ascii", "replace").strip()
        if phase == "COMPLETED":
            return _fetch("GET", f"{job}/results/result", None, network, deadline)[0]
        if phase not in ("PENDING", "QUEUED", "EXECUTING", "RUN"):
            raise _TryAgain(f"the job ended as {shown(phase)}")
        if time.monotonic() + pause >= deadline:
            raise _TryAgain("the job did not finish in time")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _fetch(
    method: str, url: str, body: dict[str, str] | None, network: NetworkSettings, deadline: float
) -> tuple[bytes, str]:
    """The whole body of an answer, and its final address.  Raises _TryAgain, CatalogError.

    In a thread of its own, which is left behind at the deadline: looking up a name, redirects and the lines of a
    header have no limit of time that adds up.
    """
    answer: SimpleQueue[tuple[bytes, str] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            answer.put(_request(method, url, body, network, deadline))
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            answer.put(error)

    left = deadline - time.monotonic()
    if left <= 0:
        raise _TryAgain("no time was left to ask")
    Thread(target=work, daemon=True).start()
    try:
        got = answer.get(timeout=left)
    except Empty:
        raise _TryAgain("no answer in time") from None
    if isinstance(got, Exception):
        raise got
    return got


def _request(
    method: str, url: str, body: dict[str, str] | None, network: NetworkSettings, deadline: float
) -> tuple[bytes, str]:
    import requests
    import urllib3

    left = max(deadline - time.monotonic(), 0.001)
    timeouts = (min(network.connect_timeout_s, left), min(network.read_timeout_s, left))
    try:
        with requests.Session() as session:
            session.max_redirects = _MOST_REDIRECTS
            with session.request(method, url, data=body, stream=True, timeout=timeouts) as response:
                if response.status_code in _RETRY_STATUS:
                    after = response.headers.get("Retry-After", "")
                    raise _TryAgain(
                        f"HTTP status {response.status_code}", float(after) if after.isdecimal() else 0.0
                    )
                if response.status_code >= 400:
                    start = shown(response.raw.read(200, decode_content=True).decode("utf-8", "replace"))
                    raise CatalogError("network", f"HTTP status {response.status_code}: {start}")
                return _read_all(response, network, deadline), urljoin(url, response.url)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise _TryAgain(_plainly(error)) from error


def _plainly(error: Exception) -> str:
    import requests

    kinds = (
        (requests.exceptions.SSLError, "no trusted connection (TLS)"),
        (requests.exceptions.ProxyError, "the proxy does not answer"),
        (requests.ConnectTimeout, "no connection in time"),
        (requests.ConnectionError, "no connection"),
        (requests.Timeout, "no answer in time"),
        (requests.TooManyRedirects, "redirected in circles"),
    )
    unknown = f"{type(error).__name__} (the answer broke off or did not come)"
    return next((text for kind, text in kinds if isinstance(error, kind)), unknown)


def _read_all(response: Any, network: NetworkSettings, deadline: float) -> bytes:
    """Read what is there as it comes: a server that drips bytes cannot outlast the deadline."""
    parts, total = [], 0
    while part := response.raw.read1(1 << 16, decode_content=True):
        parts.append(part)
        total += len(part)
        if total > network.max_bytes:
            raise CatalogError("network", f"the answer is longer than {network.max_bytes} bytes")
        if time.monotonic() > deadline:
            raise _TryAgain("no answer in time")
    return b"".join(parts)


def _parse(content: bytes) -> tuple[Table, bool]:
    """The table of a VOTable answer, and whether the service cut it short."""
    from astropy.io.votable import parse
    from astropy.io.votable.exceptions import VOTableSpecError

    start = content[:2000].lower()
    if b"<html" in start or b"<!doctype html" in start:
        raise _TryAgain("a web page came instead of a table")
    if b"<!entity" in content.lower():
        raise _TryAgain("the answer is no plain VOTable")  # entities can grow without end
    if b"<VOTABLE" not in content[:5000] and b":VOTABLE" not in content[:5000]:
        raise _TryAgain("the answer is no VOTable")
    if b"VOTABLE>" not in content[-200:]:
        raise _TryAgain("the answer is truncated")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            votable = parse(io.BytesIO(content), verify="ignore")
            status = _query_status(votable)
            if status[0] == "ERROR":
                raise CatalogError("network", f"the query was refused: {shown(status[1])}")
            return votable.get_first_table().to_table(use_names_over_ids=True), status[0] == "OVERFLOW"
    except (VOTableSpecError, ValueError, LookupError, TypeError, OSError) as error:
        raise _TryAgain(f"the answer cannot be read: {shown(str(error))}") from error


def _query_status(votable: Any) -> tuple[str, str]:
    """The last QUERY_STATUS: an OVERFLOW comes after the table."""
    infos = [info for resource in votable.resources for info in resource.infos]
    said = [(info.value, str(info.content or "")) for info in infos if info.name == "QUERY_STATUS"]
    return next((one for one in said if one[0] in ("ERROR", "OVERFLOW")), ("OK", ""))
