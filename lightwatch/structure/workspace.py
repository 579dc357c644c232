"""A workdir that is open: configuration, paths, database engines and the lock, passed to whoever needs them."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightwatch.errors import ConfigError, StorageError
from lightwatch.structure.config import Config
from lightwatch.structure.config_file import load_config, resolve_paths
from lightwatch.structure.lock import RunLock, lock_files

# the database's libraries take longer to import than a second run may take to be refused: only where they are used
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

CONFIG_VARIABLE = "LIGHTWATCH_CONFIG"
_LIGHTCURVER_VARIABLE = "LIGHTCURVER_CONFIG"


@dataclass(frozen=True)
class Workspace:
    """Everything a task may reach: nothing else is global."""

    config: Config
    config_path: Path
    workdir: Path

    @classmethod
    def open(cls, config: str | Path | None = None) -> Workspace:
        """Open the workdir of a config file; without one, that of the variable LIGHTWATCH_CONFIG.

        Raises
        ------
        ConfigError
            With every problem of the file, one per line.
        """
        path = Path(config) if config is not None else config_of_environment()
        if path is None:
            raise ConfigError(f"no config file: give its path, or set the variable {CONFIG_VARIABLE}")
        if path.is_dir():
            path = path / "config.yaml"
        loaded = resolve_paths(load_config(path), path)
        assert loaded.workdir is not None  # resolve_paths fills it
        try:
            loaded.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{path.name}: workdir {loaded.workdir}: {error.strerror}") from None
        return cls(config=loaded, config_path=path.resolve(), workdir=loaded.workdir.resolve())

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL; may hold a password."""
        url = self.config.database.url
        return url.get_secret_value() if url is not None else f"sqlite:///{self.workdir / 'database.sqlite3'}"

    @property
    def database_path(self) -> Path | None:
        """File of the SQLite database, or None for a server."""
        url = self.database_url
        return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None

    @cached_property
    def engine(self) -> Engine:
        """Engine that writes; only the holder of the lock uses it."""
        from lightwatch.structure.database import open_engine

        return open_engine(self.database_url)

    @cached_property
    def reader(self) -> Engine:
        """Engine that only reads."""
        from lightwatch.structure.database import open_reader

        return open_reader(self.database_url)

    @property
    def has_database(self) -> bool:
        """False before the first run."""
        path = self.database_path
        return path is None or path.is_file()

    @property
    def is_shared(self) -> bool:
        """Whether other machines, which the lock may not reach, can write to the same database."""
        from lightwatch.structure.database import network_file_system

        path = self.database_path
        return path is None or network_file_system(path.resolve().parent) is not None

    def refuse_other_runs(self, connection: Connection) -> None:
        """For the holder of the lock, within the transaction that writes: the table ``runs`` knows of no other.

        Raises
        ------
        AnotherRunActive
            Naming the run.
        """
        from lightwatch.structure.run_rows import refuse_other_runs

        refuse_other_runs(connection, of_other_machines=self.is_shared)

    def initialize(self) -> bool:
        """Create or migrate the database; True when something changed.

        Raises
        ------
        AnotherRunActive
            When a run that the lock does not tell of is at work on it.
        """
        from lightwatch.structure import upgrade

        if self.has_database:
            with self.reader.connect() as connection:
                self.refuse_other_runs(connection)
        self._let_go(
            "reader"
        )  # a database that came to a network disk gives up its log only while nobody reads
        return upgrade.upgrade(self.engine)

    def path(self, relpath: str) -> Path:
        """Absolute path of a product.

        Raises
        ------
        StorageError
            When the path would lead out of the workdir.
        """
        path = (self.workdir / relpath).resolve()
        if not path.is_relative_to(self.workdir):
            raise StorageError(f"{relpath}: leads out of the workdir")
        return path

    def config_text(self) -> str:
        """The effective configuration as JSON, secrets left out."""
        return json.dumps(self.config.model_dump(mode="json"), sort_keys=True)

    def config_hash(self) -> str:
        """sha256 of the effective configuration."""
        return hashlib.sha256(self.config_text().encode()).hexdigest()

    @cached_property
    def _lock(self) -> RunLock:
        path = self.database_path
        return RunLock(lock_files(self.workdir, path), self._hold_server if path is None else None)

    def _hold_server(self) -> AbstractContextManager[None]:
        from lightwatch.structure.database import hold_server

        return hold_server(self.database_url)

    def lock(self) -> RunLock:
        """Hold workdir and database for one run: ``with workspace.lock():``, within which it may be entered again.

        Raises
        ------
        AnotherRunActive
            On entering, at once, naming the holder.
        """
        return self._lock

    def close(self) -> None:
        """Let go of the database."""
        for name in ("reader", "engine"):  # the writer last: it then empties and removes the write-ahead log
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        engine: Any = self.__dict__.pop(name, None)
        if engine is not None:
            engine.dispose()


def config_of_environment() -> Path | None:
    """What the variable LIGHTWATCH_CONFIG names, or LightCurver's."""
    values = (os.environ.get(variable) for variable in (CONFIG_VARIABLE, _LIGHTCURVER_VARIABLE))
    return next((Path(value) for value in values if value), None)
