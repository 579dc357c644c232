"""A night whose computations are remembered, so that running it again costs no more than its writing.

The undisturbed run computes everything once. Every answer is kept in memory under a digest of the job, together with
the products that the computation wrote. Later runs, in forked children, look the answers up and write the same
products with the same code; what they go through otherwise is the program itself: search, rows, files,
transactions, command line. A job that was never seen is an error, and the trial has failed: a run that goes on after a
disturbance must ask the same questions as the undisturbed one.

The night lies in memory where the machine allows it (a killed process leaves there what it leaves on a disk): the
calls are the same, but nobody waits for a disk that others use.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import numpy as np
from pydantic import BaseModel

from lightwatch.pipeline.night import NIGHT
from lightwatch.structure import frame_store, store
from lightwatch.structure.files import sha256_of
from reliability.small_night import Workdir, make_field, make_workdir

#: what computations write with; each call is made again when its answer is looked up
_WRITERS = (
    (frame_store, "write_frame"),
    (frame_store, "write_sources"),
    (frame_store, "replace_wcs"),
    (store, "write_product"),
)
#: columns of rows that tell when something was done
_CIRCUMSTANCES = {"seconds", "run_id", "attempts"}
_INDEX = "regions.h5"
_OLD = 1.7e9  # time of modification of the raw files, s
_IN_MEMORY = Path("/dev/shm")  # the directory made in it has a name of its own
_ROOM = 1 << 30  # bytes


class UnknownJob(Exception):
    """A run asked for a computation that the undisturbed run did not make."""


@dataclass(frozen=True)
class Answer:
    """What a computation returned or raised, and the calls that wrote its products."""

    output: Any
    writing: tuple[Callable[[], Any], ...]
    error: Exception | None = None


@dataclass(frozen=True)
class Night:
    """The recorded night: one workdir, always at the same place, and what the undisturbed run left in it."""

    root: Path
    answers: dict[str, Answer] = field(repr=False)
    results: Mapping[str, Any] = field(repr=False)
    files: Mapping[str, str] = field(repr=False)
    sizes: Mapping[str, int] = field(repr=False)  # of all files, bytes
    folder: tempfile.TemporaryDirectory[str] = field(repr=False)  # holds root, until this process ends
    ids: Mapping[str, int] = field(
        default_factory=dict, repr=False
    )  # of frames, by the digest of their content
    arrays: Mapping[str, str] = field(default_factory=dict, repr=False)  # digests of what is in files of HDF5

    @property
    def workdir(self) -> Workdir:
        return Workdir(self.root / "workdir")

    def fresh(self) -> Workdir:
        """The workdir as it was before the first run."""
        if self.workdir.path.is_dir():
            for path in self.workdir.path.iterdir():  # the directory itself may be a mount point
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self.root / "pristine", self.workdir.path, dirs_exist_ok=True)
        return self.workdir

    @contextmanager
    def remembered(self) -> Iterator[None]:
        """Computations are looked up."""
        with computations(functools.partial(_looked_up, self.answers)):
            yield

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Computations are looked up; unknown ones are made for good, and remembered from then on."""
        recorder = Recorder(self.answers)

        def known_or_computed(name: str, compute: Callable[[Any], Any], job: Any) -> Any:
            try:
                return _looked_up(self.answers, name, compute, job)
            except UnknownJob:
                return recorder.computed(name, compute, job)

        with recorder.listening(), computations(known_or_computed):
            yield


@functools.cache
def recorded_night(n_frames: int) -> Night:
    """Simulate so many frames and run their night once; kept for all goals that one process measures."""
    folder = tempfile.TemporaryDirectory(prefix="lightwatch-recorded-", dir=_memory())
    root = Path(folder.name).resolve()
    simulated = make_field(root / "field", n_frames)
    (root / "raw").mkdir()
    for path in simulated.frames:
        copy = Path(shutil.copy(path, root / "raw"))
        os.utime(copy, (_OLD, _OLD))
    workdir = make_workdir(root / "workdir", simulated)
    shutil.copytree(workdir.path, root / "pristine")
    recorder = Recorder()
    with recorder.listening(), computations(recorder.computed):
        result = workdir.run()
    assert result.exit_code == 0, result.line
    sizes = {str(path): path.stat().st_size for path in workdir.path.rglob("*") if path.is_file()}
    files = files_of(workdir.path)
    arrays = {
        name: arrays_of(workdir.path / name) for name in files if name.endswith(".h5") and name != _INDEX
    }
    ids = dict(workdir.sql("SELECT content_hash, id FROM frames"))
    return Night(root, recorder.answers, workdir.results(), files, sizes, folder, ids, arrays)


def _memory() -> Path | None:
    """A file system in memory with enough room, else None."""
    if _IN_MEMORY.is_dir() and os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _ROOM:
        return _IN_MEMORY
    return None


def files_of(workdir: Path) -> dict[str, str]:
    """sha256, by path, of all files but database, lock, log, and copies of the database."""
    return {
        str(path.relative_to(workdir)): _links(path) if path.name == _INDEX else sha256_of(path)
        for path in sorted(workdir.rglob("*"))
        if path.is_file()
        and not path.name.startswith(("database.sqlite3", ".lightwatch"))
        and path.relative_to(workdir).parts[0] not in ("logs", "backups")
    }


def arrays_of(path: Path) -> str:
    """Digest of the arrays and attributes of a file of HDF5, whatever their order in the file."""
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        values = np.asarray(item[()]) if isinstance(item, h5py.Dataset) else np.empty(0)
        bytes_ = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()
        digest.update(f"{name}{values.dtype}{values.shape}{sorted(item.attrs.items())}".encode() + bytes_)

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)  # in the order of their names
    return digest.hexdigest()


def _links(index: Path) -> str:
    """Links of the index; HDF5 notes the time in its groups."""
    links: list[str] = []
    with h5py.File(index, "r") as file:
        for folder, group in file.items():
            links += [f"{folder}/{name}: {group.get(name, getlink=True).filename}" for name in group]
    return "\n".join(sorted(links))


# ---------------------------------------------------------------- recording
class Recorder:
    """Keeps what is computed: ``answers`` by the digest of the job."""

    def __init__(self, answers: dict[str, Answer] | None = None) -> None:
        self.answers: dict[str, Answer] = {} if answers is None else answers
        self._writing: list[Callable[[], Any]] | None = None

    def computed(self, name: str, compute: Callable[[Any], Any], job: Any) -> Any:
        """Compute for good, and keep the answer; of a batch, the answers of its jobs one by one."""
        self._writing = []
        try:
            output = compute(job)
        except Exception as error:
            if not isinstance(job, list):  # the jobs of a batch are computed again one by one
                self.answers[digest_of([name, job])] = Answer(None, tuple(self._writing), error)
            raise
        finally:
            writing, self._writing = tuple(self._writing), None
        if not isinstance(job, list):
            self.answers[digest_of([name, job])] = Answer(output, writing)
            return output
        assert not writing, f"{name}: a batch that writes cannot be told apart into its jobs"
        for one, its_output in zip(job, output, strict=True):
            self.answers[digest_of([name, one])] = Answer(its_output, ())
        return output

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Note the calls of writers that computations make themselves."""

        def noted(write: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **named: Any) -> Any:
                notes, self._writing = self._writing, None  # a writer may use another one
                if notes is not None:
                    notes.append(functools.partial(write, *arguments, **named))
                try:
                    return write(*arguments, **named)
                finally:
                    self._writing = notes

            return call

        with (
            mock.patch.multiple(frame_store, **_wrapped(frame_store, noted)),
            mock.patch.multiple(store, **_wrapped(store, noted)),
        ):
            yield


def _wrapped(module: Any, wrap: Callable[..., Any]) -> dict[str, Any]:
    return {name: wrap(getattr(module, name)) for owner, name in _WRITERS if owner is module}


def _looked_up(answers: Mapping[str, Answer], name: str, _compute: Callable[[Any], Any], job: Any) -> Any:
    if isinstance(job, list):
        return [_looked_up(answers, name, _compute, one) for one in job]
    answer = answers.get(digest_of([name, job]))
    if answer is None:
        raise UnknownJob(f"{name}: the undisturbed run made no such computation")
    for write in answer.writing:
        write()
    if answer.error is not None:
        raise answer.error
    return answer.output


@contextmanager
def computations(replacement: Callable[[str, Callable[[Any], Any], Any], Any]) -> Iterator[None]:
    """Let ``replacement(task, compute, job)`` stand for the function ``compute`` of every task."""
    modules = {task.name: importlib.import_module(task.module) for task in NIGHT if task.scope != "once"}
    originals = {name: module.compute for name, module in modules.items()}
    for name, module in modules.items():
        module.compute = functools.partial(replacement, name, originals[name])  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name, module in modules.items():
            module.compute = originals[name]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- telling jobs apart
def digest_of(value: Any) -> str:
    """Digest of a job: everything in it counts but when something was done."""
    digest = hashlib.blake2b(digest_size=20)
    _feed(digest, value)
    return digest.hexdigest()


def _feed(digest: Any, value: Any) -> None:
    digest.update(f"<{type(value).__name__}".encode())
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        digest.update(f"{value.dtype.str}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, BaseModel):
        _feed(digest, value.model_dump(mode="json"))
    elif dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            digest.update(item.name.encode())
            _feed(digest, getattr(value, item.name))
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            if key not in _CIRCUMSTANCES:
                _feed(digest, key)
                _feed(digest, value[key])
    elif isinstance(value, list | tuple | np.ndarray):
        for item in value:
            _feed(digest, item)
    elif value is None or isinstance(value, bool | int | float | str | bytes | Path | np.generic):
        digest.update(repr(value).encode("utf-8", "backslashreplace"))
    elif callable(value):
        digest.update(value.__qualname__.encode())
    else:
        raise TypeError(f"a job holds a {type(value).__name__}, which the digest does not know")
    digest.update(b">")
