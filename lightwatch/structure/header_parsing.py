"""Header parsers: foreign code, taken only when nobody else can have changed it, run with a time limit and checked.

The main process reads a parser's source and its hash, and never runs it.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

from lightwatch.errors import ConfigError, HeaderError
from lightwatch.structure.frames_guard import open_regular, shown
from lightwatch.structure.header_values import FrameMetadata, checked_metadata

if TYPE_CHECKING:
    from astropy.io import fits  # a run that finds nothing to do needs no astropy

__all__ = ["FrameMetadata", "HeaderParser", "load_header_parser", "read_metadata", "shipped_path"]

_ROOT = Path(__file__).resolve().parent.parent
_MAX_SOURCE_BYTES = 1_000_000
PARSER_SECONDS = 10.0  # for one header
_REPEAT_SECONDS = 0.5


@dataclass(frozen=True)
class HeaderParser:
    """A parser's source, read and checked but not run; it travels to worker processes, and what was hashed is what
    they run."""

    path: Path
    content_hash: str  # blake2b of the source
    source: bytes = field(repr=False)


def shipped_path(folder: str, name: str) -> Path:
    """Path of a file delivered with lightwatch: inside the package, else in the checkout.

    Raises FileNotFoundError, and ValueError for a name that is not one plain file name.
    """
    if Path(name).name != name or not name.isprintable() or name.startswith("."):
        raise ValueError(f"{shown(name)} is not a file name")
    for base in (_ROOT / "_shipped", _ROOT.parent):
        if (base / folder / name).is_file():
            return base / folder / name
    raise FileNotFoundError(f"lightwatch does not ship {folder}/{name}")


def load_header_parser(workdir: Path, instrument: str | None) -> HeaderParser:
    """The shipped parser named ``instrument``, or ``workdir/header_parser/parse_header.py`` when None.

    It is not run.  Raises ConfigError when there is none, when others than the user can write it, or when it
    cannot be compiled or nowhere names ``parse_header``.
    """
    if instrument is None:
        return _load(workdir.absolute() / "header_parser" / "parse_header.py", trusted=False)
    try:
        return _load(shipped_path("header_parser", f"{instrument}.py"), trusted=True)
    except (FileNotFoundError, ValueError) as error:
        known = ", ".join(_shipped_parsers())
        raise ConfigError(f"instrument: there is no parser {shown(instrument)}; known are {known}") from error


def _shipped_parsers() -> list[str]:
    folders = (_ROOT / "_shipped" / "header_parser", _ROOT.parent / "header_parser")
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return sorted(path.stem for path in folder.glob("*.py")) if folder else []


def _load(path: Path, *, trusted: bool) -> HeaderParser:
    try:
        with open_regular(path) as file:
            if not trusted:
                _refuse_if_others_can_write(path, file)
            source = file.read(_MAX_SOURCE_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"{path}: no header parser ({error.strerror}); write one or set `instrument` to a shipped one"
        ) from error
    if len(source) > _MAX_SOURCE_BYTES:
        raise ConfigError(f"{path}: longer than {_MAX_SOURCE_BYTES} bytes, not a header parser")
    _refuse_unfinished_source(source, path)
    return HeaderParser(path, blake2b(source, digest_size=32).hexdigest(), source)


def _refuse_unfinished_source(source: bytes, path: Path) -> None:
    """What can be told without running it."""
    try:
        code = compile(source, str(path), "exec")
    except Exception as error:  # the compiler raises many kinds on hostile text
        raise ConfigError(f"{path}: {type(error).__name__}: {shown(str(error))}") from error
    if "parse_header" not in code.co_names and ("*",) not in code.co_consts:
        raise ConfigError(f"{path}: defines no function parse_header(header)")


def _refuse_if_others_can_write(path: Path, file: BinaryIO) -> None:
    """The rule of ssh for its own files: owner is the user or root, nobody else may write, folders alike."""
    real = Path(os.path.realpath(path))
    statuses = [(real, os.fstat(file.fileno()))] + [(folder, folder.stat()) for folder in real.parents]
    for place, status in statuses:
        is_folder = stat.S_ISDIR(status.st_mode)
        if status.st_uid not in (os.getuid(), 0):
            raise ConfigError(
                f"{real}: will not be run, {place} belongs to another user (uid {status.st_uid}): chown it"
            )
        if is_folder and status.st_mode & stat.S_ISVTX:
            continue  # as /tmp: others cannot replace what is not theirs
        if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _private_group(status)):
            raise ConfigError(f"{real}: will not be run, others can write {place}: chmod go-w {place}")


def _private_group(status: os.stat_result) -> bool:
    """Whether the group is the owner's own, without other members, as many systems set up."""
    import grp
    import pwd

    try:
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and set(group.gr_mem) <= {owner.pw_name}


def read_metadata(
    parser: HeaderParser,
    header: fits.Header,
    *,
    name: str,
    time_reference: str,
    overrides: Mapping[str, Any],
    seconds: float = PARSER_SECONDS,
) -> FrameMetadata:
    """Run the parser, for at most ``seconds``, and check what it returns, key by key.

    ``name`` is the file in messages; ``time_reference`` holds where the parser does not say;
    ``overrides`` (keys of the parser contract) replace the parser's values.
    Raises HeaderError with reason code ``bad_meta:<key>`` or ``bad_meta:parser``.

    This runs foreign code and belongs into a worker process: what ends the process (a crash, os._exit) or takes
    memory without bound is bounded there. Its output is thrown away. The time limit holds in main threads.
    """
    try:
        with _time_limit(seconds):
            return _checked_result(parser, header, name, time_reference, overrides)
    except _TimeIsUp:
        told = f"{shown(name)}: the header parser did not end within {seconds:g} s"
        raise HeaderError("bad_meta:parser", told) from None


def _checked_result(
    parser: HeaderParser, header: fits.Header, name: str, time_reference: str, overrides: Mapping[str, Any]
) -> FrameMetadata:
    """What the parser says; its values are foreign objects until they are checked."""
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            values = _parse_function(parser)(header.copy())
            if not isinstance(values, Mapping):
                raise TypeError(f"it returned {type(values).__name__}, expected a dict")
            return checked_metadata({**values, **overrides}, name=shown(name), time_reference=time_reference)
    except HeaderError:
        raise
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        key = shown(str(error.args[0])) if isinstance(error, KeyError) and error.args else ""
        hint = f"; the header has no usable {key}" if key else ""
        told = f"{shown(name)}: the header parser raised {type(error).__name__}: {shown(str(error))}{hint}"
        raise HeaderError("bad_meta:parser", told) from error


def _parse_function(parser: HeaderParser) -> Callable[[fits.Header], Any]:
    """Run the source in a module of its own: sys.path and sys.modules stay as they are."""
    module = ModuleType("lightwatch_header_parser")
    module.__file__ = str(parser.path)
    exec(compile(parser.source, str(parser.path), "exec"), module.__dict__)  # noqa: S102 - the user's own parser
    parse = module.__dict__.get("parse_header")
    if not callable(parse):
        raise TypeError("parse_header is no function")
    return parse


class _TimeIsUp(BaseException):
    """Not an Exception, so that a parser's own ``except Exception`` does not swallow it."""


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _TimeIsUp in the code inside, again and again until it leaves; no limit outside of main threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    timer_before = signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer_before)
        signal.signal(signal.SIGALRM, before)
