"""Files of a simulated provider, `/v1/files`, for batches: kept in memory, up to a bound."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from streamnursery.serving.steps import JSON, Step, whole
from streamnursery.wire.openai_chat.server import ApiError

MOST_FILES: Final = 1000
MOST_BYTES: Final = 64 * 1024 * 1024
"""Of all files together."""
_LINES: Final = ("content-type", "application/octet-stream")


@attrs.frozen
class KeptFile:
    """One file."""

    id: str
    name: str
    purpose: str
    created_at: int
    data: bytes = attrs.field(repr=False)

    @property
    def shown(self) -> dict[str, Any]:
        """In the API's shape."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": len(self.data),
            "created_at": self.created_at,
            "filename": self.name,
            "purpose": self.purpose,
            "status": "processed",
        }


class UploadedFiles:
    """What was uploaded, and what batches have made."""

    def __init__(self) -> None:
        self._kept: dict[str, KeptFile] = {}
        self._made = 0

    def add(self, name: str, purpose: str, data: bytes, created_at: int) -> KeptFile:
        """Raises `ApiError` 413 if there is no room."""
        size = sum(len(kept.data) for kept in self._kept.values()) + len(data)
        if len(self._kept) >= MOST_FILES or size > MOST_BYTES:
            msg = f"The simulator keeps {MOST_FILES} files and {MOST_BYTES} bytes: delete some."
            raise ApiError(413, msg, param="file", code="storage_limit")
        self._made += 1
        kept = KeptFile(f"file-sim-{self._made}", name, purpose, created_at, data)
        self._kept[kept.id] = kept
        return kept

    def get(self, file_id: str) -> KeptFile:
        """Raises `ApiError` 404 for an unknown one."""
        kept = self._kept.get(file_id)
        if kept is None:
            msg = f"No such File object: {file_id[:80]}"
            raise ApiError(404, msg, param="id", code="not_found")
        return kept

    def delete(self, file_id: str) -> None:
        """Raises `ApiError` 404 for an unknown one."""
        del self._kept[self.get(file_id).id]

    def __iter__(self) -> Iterator[KeptFile]:
        """The newest first."""
        return reversed(self._kept.values())


def answered(
    files: UploadedFiles, method: str, rest: str, headers: Mapping[str, str], body: bytes, unix: int
) -> tuple[bytes, tuple[str, str]]:
    """The body of an answer, and its content type. It may raise `ApiError`."""
    name, _, verb = rest.partition("/")
    match method, bool(name), verb:
        case "POST", False, "":
            return _json(_uploaded(files, headers.get("content-type", ""), body, unix).shown)
        case "GET", False, "":
            found = [kept.shown for kept in files]
            return _json({"object": "list", "data": found, "has_more": False})
        case "GET", True, "":
            return _json(files.get(name).shown)
        case "GET", True, "content":
            return files.get(name).data, _LINES
        case "DELETE", True, "":
            files.delete(name)
            return _json({"id": name, "object": "file", "deleted": True})
        case _:
            msg = f"Not allowed to {method} here."
            raise ApiError(405, msg, code="method_not_supported")


def _json(value: object) -> tuple[bytes, tuple[str, str]]:
    return msgspec.json.encode(value), JSON


def _uploaded(files: UploadedFiles, content_type: str, body: bytes, unix: int) -> KeptFile:
    parts = form_data(content_type, body)
    purpose = parts.get("purpose", ("", b""))[1].decode(errors="replace")
    if not purpose:
        raise ApiError(400, "'purpose' is a required property", param="purpose")
    if "file" not in parts:
        raise ApiError(400, "'file' is a required property", param="file")
    name, data = parts["file"]
    return files.add(name or "upload", purpose, data, unix)


def form_data(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    """The fields of multipart/form-data (RFC 7578), each with the name of its file, if it has one.

    Raises:
        ApiError: with status 400.
    """
    found = re.search(r'boundary="?([^";]{1,200})"?', content_type)
    if not content_type.lower().startswith("multipart/form-data") or found is None:
        raise ApiError(400, "Files are sent as multipart/form-data with a boundary.")
    fields: dict[str, tuple[str, bytes]] = {}
    parts = (b"\r\n" + body).split(b"\r\n--" + found[1].encode())
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise ApiError(400, "The multipart body has no end.")
    for part in parts[1:-1]:
        head, gap, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        shown = head.decode(errors="replace")
        name = re.search(r'\bname="([^"]*)"', shown)
        if not gap or name is None:
            raise ApiError(400, "A part of the multipart body has no name.")
        file = re.search(r'\bfilename="([^"]*)"', shown)
        fields[name[1]] = (file[1] if file else "", data)
    return fields


def steps_of(made: tuple[bytes, tuple[str, str]], headers: list[tuple[str, str]]) -> Iterator[Step]:
    """The answer of `answered`."""
    return whole(200, made[0], [*headers, made[1]])
