"""A file is written at once or not at all, whenever the process is killed or the disk is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from divcon.core.files import atomic_write, is_unfinished, replacing


def test_a_file_holds_what_was_written_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    atomic_write(file, "é\r\n")
    assert file.read_bytes() == b"\xc3\xa9\r\n"
    atomic_write(file, b"\x00\xff", sync=True)
    assert file.read_bytes() == b"\x00\xff" and list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.json"
    atomic_write(file, "old")

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(file, "new", sync=True)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_what_a_killed_process_leaves_is_known_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with replacing(file) as (part,):
        part.write_text("half")
        assert is_unfinished(part.name) and not is_unfinished(file.name)


def test_what_a_link_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    atomic_write(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_text() == "text"
