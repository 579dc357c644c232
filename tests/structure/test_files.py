"""Files appear whole or not at all; names hold nothing hostile."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightwatch.errors import StorageError
from lightwatch.structure import files
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


def test_the_file_is_synced_before_the_rename_and_the_directory_after(tmp_path, monkeypatch):
    """R4: a row that is committed afterwards never names a file that a power cut can take away."""
    seen = []
    original = files._sync

    def sync(path):
        seen.append((path.is_dir(), (tmp_path / "a.bin").exists()))
        original(path)

    monkeypatch.setattr(files, "_sync", sync)
    write_atomically(tmp_path / "a.bin", lambda path: path.write_bytes(b"1"))
    assert seen == [(False, False), (True, True)]


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_sync_is_a_storage_error(tmp_path, monkeypatch, failing):
    calls = []

    def sync(_path):
        calls.append(1)
        if len(calls) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files, "_sync", sync)
    with pytest.raises(StorageError, match="Input/output error"):
        write_atomically(tmp_path / "a.bin", lambda path: path.write_bytes(b"1"))
    assert not [name for name in _listing(tmp_path) if name.endswith(".tmp")]


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
