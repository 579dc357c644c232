"""Header parsers: foreign code, loaded only when nobody else can have changed it, its result checked."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from astropy.io import fits

from lightwatch.errors import ConfigError, HeaderError
from lightwatch.structure.frames_guard import open_regular, shown
from lightwatch.structure.header_values import FrameMetadata, checked_metadata

__all__ = ["FrameMetadata", "HeaderParser", "load_header_parser", "read_metadata", "shipped_path"]

_ROOT = Path(__file__).resolve().parent.parent
_MAX_SOURCE_BYTES = 1_000_000


@dataclass(frozen=True)
class HeaderParser:
    """A loaded parser; travels to worker processes by path and hash, and is loaded again there."""

    path: Path
    content_hash: str  # blake2b of the source
    parse: Callable[[fits.Header], Any]

    def __reduce__(self) -> tuple[Callable[..., HeaderParser], tuple[Path, str]]:
        return _load_again, (self.path, self.content_hash)


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

    Raises ConfigError when there is none, when others than the user can write it, or when it defines
    no ``parse_header``.
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


def _load_again(path: Path, content_hash: str) -> HeaderParser:
    parser = _load(
        path, trusted=path.parent in (_ROOT / "_shipped" / "header_parser", _ROOT.parent / "header_parser")
    )
    if parser.content_hash != content_hash:
        raise ConfigError(f"{path}: changed while the run was going on; run again")
    return parser


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
    return HeaderParser(path, blake2b(source, digest_size=32).hexdigest(), _parse_function(source, path))


def _parse_function(source: bytes, path: Path) -> Callable[[fits.Header], Any]:
    """Run the source in a module of its own: what was checked is what runs, and sys.path stays as it is."""
    module = ModuleType("lightwatch_header_parser")
    module.__file__ = str(path)
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own parser
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        raise ConfigError(f"{path}: {type(error).__name__}: {shown(str(error))}") from error
    parse = getattr(module, "parse_header", None)
    if not callable(parse):
        raise ConfigError(f"{path}: defines no function parse_header(header)")
    return parse


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
) -> FrameMetadata:
    """Run the parser and check what it returns, key by key.

    ``name`` is the file in messages; ``time_reference`` holds where the parser does not say;
    ``overrides`` (keys of the parser contract) replace the parser's values.
    Raises HeaderError with reason code ``bad_meta:<key>`` or ``bad_meta:parser``.
    """
    try:
        values = parser.parse(header.copy())
    except (Exception, SystemExit) as error:  # foreign code may raise anything
        key = shown(str(error.args[0])) if isinstance(error, KeyError) and error.args else ""
        hint = f"; the header has no usable {key}" if key else ""
        raise HeaderError(
            "bad_meta:parser",
            f"{shown(name)}: the header parser raised {type(error).__name__}: {shown(str(error))}{hint}",
        ) from error
    if not isinstance(values, Mapping):
        raise HeaderError(
            "bad_meta:parser",
            f"{shown(name)}: the header parser returned {type(values).__name__}, expected a dict",
        )
    return checked_metadata({**values, **overrides}, name=shown(name), time_reference=time_reference)
