"""Files appear whole or not at all; names hold nothing hostile."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwatch.errors import StorageError
from lightwatch.structure import failpoint
from lightwatch.structure.files import path_text, safe_name, sha256_of, write_atomically


def _listing(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_digest_and_size_are_those_of_the_file(tmp_path):
    digest, size = write_atomically(tmp_path / "deep" / "a.bin", lambda path: path.write_bytes(b"12345"))
    assert (digest, size) == (sha256_of(tmp_path / "deep" / "a.bin"), 5)
    assert _listing(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    "error", [ValueError("bug"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def write(path):
        path.write_bytes(b"half")
        raise error

    expected = StorageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught:
        write_atomically(target, write)
    assert target.read_bytes() == b"old"
    assert _listing(tmp_path) == ["a.bin"]
    if expected is StorageError:
        assert str(target) in str(caught.value)
        assert "No space left on device" in str(caught.value)
        assert "MB free" in str(caught.value)


STEPS = ["mkdir", "fsync directory", "write", "fsync", "rename", "fsync directory"]


def test_the_file_is_synced_before_the_rename_and_the_directory_after(tmp_path, monkeypatch):
    """R4: a row that is committed afterwards never names a file that a power cut can take away."""
    seen, synced = [], []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(len(seen)), sync(descriptor)))
    target = tmp_path / "deep" / "a.bin"
    monkeypatch.setattr(failpoint, "reached", lambda step, path: seen.append((step, target.exists())))
    write_atomically(target, lambda path: path.write_bytes(b"1"))
    assert seen == [(step, k == 5) for k, step in enumerate(STEPS)]
    assert synced == [2, 4, 6], "what stands above is what was done"


@pytest.mark.parametrize("failing", range(len(STEPS)), ids=STEPS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_a_failed_step_is_a_storage_error(tmp_path, monkeypatch, failing, number):
    calls = []

    def reached(_step, _path):
        calls.append(1)
        if len(calls) == failing + 1:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(failpoint, "reached", reached)
    target = tmp_path / "deep" / "a.bin"
    with pytest.raises(StorageError, match=re.escape(str(target))) as caught:
        write_atomically(target, lambda path: path.write_bytes(b"1"))
    assert os.strerror(number) in str(caught.value)
    assert "MB free" in str(caught.value), "also where the directory could not be made"
    assert not [name for name in _listing(tmp_path) if name.endswith(".tmp")]
    monkeypatch.undo()
    write_atomically(target, lambda path: path.write_bytes(b"2"))
    assert target.read_bytes() == b"2"


def test_a_disk_that_cannot_even_remove_is_told_by_its_first_error(tmp_path, monkeypatch):
    def fail(*_arguments, **_named):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "unlink", fail)

    def write(_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageError, match="No space left"):
        write_atomically(tmp_path / "a.bin", write)


@pytest.mark.parametrize(("number", "fails"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_sync_directories_is_put_up_with(tmp_path, monkeypatch, number, fails):
    sync = os.fsync

    def of_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", of_files)
    with pytest.raises(StorageError) if fails else nullcontext():
        write_atomically(tmp_path / "a.bin", lambda path: path.write_bytes(b"1"))


@given(st.text(max_size=300))
def test_safe_names_are_safe(text):
    name = safe_name(text, "0123456789abcdef")
    assert name.endswith("-01234567")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert len(name) < 100
    assert not name.startswith((".", "-"))


def test_names_of_any_bytes_are_text(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.fits")
    assert path_text(path).endswith("caf\\xe9.fits")
    path_text(path).encode("utf-8")
