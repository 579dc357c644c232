"""Everything lightwatch raises on purpose.

LightwatchError
├── ConfigError            the config file: exit code 78
├── SchemaError            the database is newer than the code, or not ours: exit code 78
├── AnotherRunActive       the workdir is locked by another run: exit code 75
├── NoUsableData           nothing to work on: exit code 65
├── StorageError           disk full, input/output error: exit code 74
│   └── ProductError       one product is missing or damaged; has a reason code
├── InputError             one item (frame, catalogue) that cannot be used; has a reason code
│   ├── FrameError         a raw file that is not a usable frame
│   ├── HeaderError        the header parser's result is missing or out of range
│   └── CatalogError       no reference stars could be had
└── ProcessError           a computation that has no answer for one item; has a reason code
    ├── AstrometryError    no trustworthy WCS
    └── TooFewStars        not enough stars for what was asked
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the program ends; docs/cron.md says what each of them asks for."""

    CLEAN = 0
    PARTIAL = 10  # some items were rejected or failed
    NO_DATA = 65
    BUG = 70
    STORAGE = 74
    LOCKED = 75
    CONFIG = 78
    INTERRUPTED = 130


class LightwatchError(Exception):
    """Root of all errors raised on purpose; its text is one line for the user."""

    exit_code = ExitCode.BUG


class ConfigError(LightwatchError):
    """The configuration is wrong; ``problems`` lists every one of them, a line each."""

    exit_code = ExitCode.CONFIG

    def __init__(self, problems: list[str] | str) -> None:
        self.problems = [problems] if isinstance(problems, str) else problems
        super().__init__("\n".join(self.problems))


class SchemaError(LightwatchError):
    """The database cannot be opened by this version."""

    exit_code = ExitCode.CONFIG


class AnotherRunActive(LightwatchError):
    """Another process holds the lock of the workdir."""

    exit_code = ExitCode.LOCKED


class NoUsableData(LightwatchError):
    """There is nothing to work on."""

    exit_code = ExitCode.NO_DATA


class StorageError(LightwatchError):
    """The disk is full or fails: nothing can go on."""

    exit_code = ExitCode.STORAGE


class ProductError(StorageError):
    """One product is missing or damaged: whoever reads it fails alone, and it can be made again.

    ``reason_code`` is ``missing_product`` or ``damaged_product``, ``relpath`` the product below the workdir.
    """

    def __init__(self, reason_code: str, message: str, relpath: str) -> None:
        self.reason_code = reason_code
        self.relpath = relpath
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.reason_code, str(self), self.relpath)


class InputError(LightwatchError):
    """One item cannot be used. ``reason_code`` is for machines, the text for people."""

    exit_code = ExitCode.NO_DATA

    def __init__(self, reason_code: str, message: str) -> None:
        self.reason_code = reason_code
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        # the default reduces to the message alone and would not survive a worker process
        return type(self), (self.reason_code, str(self))


class FrameError(InputError):
    """A raw file that is not a usable frame."""


class HeaderError(InputError):
    """What the header parser returned is missing or out of range."""


class CatalogError(InputError):
    """Reference stars could not be had."""


class ProcessError(LightwatchError):
    """A computation without an answer for one item. ``reason_code`` is for machines."""

    def __init__(self, reason_code: str, message: str) -> None:
        self.reason_code = reason_code
        super().__init__(message)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.reason_code, str(self))


class AstrometryError(ProcessError):
    """No trustworthy WCS was found."""


class TooFewStars(ProcessError):
    """Not enough stars for what was asked."""
