"""T18: a ledger is nobody else's."""

import os
import stat
from pathlib import Path

import pytest

from streamnursery.storage.private import companions, make_private


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "private"
    found.mkdir(mode=0o700)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_t18_file_and_folder_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_private(tmp_path / "new" / "ledger.db")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o700
    assert mode(tmp_path / "new" / "ledger.db") == 0o600


def test_t18_a_file_that_others_may_read_is_closed_to_them(folder: Path) -> None:
    path = folder / "ledger.db"
    path.touch(mode=0o644)
    make_private(path)
    assert mode(path) == 0o600


@pytest.mark.parametrize("others", [0o620, 0o602, 0o666])
def test_t18_a_file_that_others_may_write_is_refused(folder: Path, others: int) -> None:
    path = folder / "ledger.db"
    path.touch()
    path.chmod(others)
    with pytest.raises(PermissionError, match="chmod 600"):
        make_private(path)


@pytest.mark.parametrize("others", [0o720, 0o702, 0o777])
def test_t18_a_folder_that_others_may_write_is_refused(folder: Path, others: int) -> None:
    folder.chmod(others)
    with pytest.raises(PermissionError, match="chmod 700"):
        make_private(folder / "ledger.db")


def test_t18_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep")
    for path in (folder / "ledger.db", *companions(folder / "ledger.db")):
        path.symlink_to(target)
        with pytest.raises(PermissionError, match="follows none"):
            make_private(folder / "ledger.db")
        path.unlink()
    assert target.read_text() == "keep"


def test_t18_a_pipe_is_no_ledger(folder: Path) -> None:
    path = folder / "ledger.db"
    os.mkfifo(path, 0o600)
    with pytest.raises(PermissionError, match="no regular file"):
        make_private(path)
