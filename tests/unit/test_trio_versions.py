"""What is installed beside the oldest and the newest trio: the lock, but for trio."""

from packaging.version import Version

from tests.trio_versions import LOCK, trio_floor, without


def test_all_of_the_lock_but_trio_is_left() -> None:
    lock = LOCK.read_text()
    left = "".join(without(lock, "trio"))
    assert "\ntrio==" in lock
    assert "\ntrio==" not in left
    assert "\ntrio-websocket==" in left
    assert left.count("==") == lock.count("==") - 1


def test_its_hashes_go_with_a_pin() -> None:
    lock = "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nb[x]==2 \\\n    --hash=sha256:3\n"
    assert "".join(without(lock, "a")) == "b[x]==2 \\\n    --hash=sha256:3\n"
    assert "".join(without(lock, "b")) == "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\n"


def test_the_floor_is_a_version() -> None:
    assert Version(trio_floor()) >= Version("0.32")
