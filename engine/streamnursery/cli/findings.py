"""What can be seen of a set-up without asking anybody."""

import os
import ssl
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import attrs

from streamnursery.cli.parser import PROGRAM
from streamnursery.config import LoadedConfig
from streamnursery.values.settings import EngineConfig

Level = Literal["ok", "note", "problem"]

_NEEDED = ("trio", "httpx", "attrs", "msgspec", "httptools")
_OPTIONAL = {"rich": "the live screen", "shtab": "completions", "trustme": "sim --tls"}
_SESSIONS = "trio-websocket"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    check: str
    level: Level
    what: str
    todo: str = ""

    def shown(self) -> str:
        """For people."""
        line = f"{self.level:<8} {self.check:<14} {self.what}"
        return f"{line}\n{'':23} -> {self.todo}" if self.todo else line


def local_findings(loaded: LoadedConfig | None) -> list[Finding]:
    """All of it; without a configuration what does not depend on one."""
    found = [*_versions(), *_tls()]
    if loaded is None:
        return [*found, *_environment(trust_env=False)]
    return [
        *found,
        *_environment(trust_env=loaded.config.trust_env),
        *_settings(loaded),
        *_keys(loaded),
        *_models(loaded.config),
        *_files(loaded.config),
    ]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _versions() -> Iterator[Finding]:
    from streamnursery import __version__

    python = ".".join(map(str, sys.version_info[:3]))
    known = ", ".join(f"{name} {_version(name) or '(unknown)'}" for name in _NEEDED)
    yield Finding("versions", "ok", f"{PROGRAM} {__version__}, Python {python}, {known}")
    missing = [f"{name} ({what})" for name, what in _OPTIONAL.items() if not _version(name)]
    if missing:
        todo = f"pip install {' '.join(name for name in _OPTIONAL if not _version(name))}"
        yield Finding("versions", "note", f"not installed: {', '.join(missing)}", todo)
    if _version(_SESSIONS):
        yield Finding("sessions", "ok", f"{_SESSIONS} {_version(_SESSIONS)}")
    else:
        todo = 'pip install "trio-websocket>=0.12" for sessions and `ask --ws`'
        yield Finding("sessions", "note", f"not installed: {_SESSIONS}", todo)


def _tls() -> Iterator[Finding]:
    paths = ssl.get_default_verify_paths()
    file, folder = Path(paths.openssl_cafile), Path(paths.openssl_capath)
    if file.is_file():
        source = str(file)
    elif folder.is_dir() and any(folder.iterdir()):
        source = str(folder)
    else:
        source = "the list of certifi, because the system has none"
    yield Finding("tls", "ok", f"{ssl.OPENSSL_VERSION}; authorities: {source}")


def _environment(*, trust_env: bool) -> Iterator[Finding]:
    both = [name for proxy in _PROXIES for name in (proxy, proxy.lower())]
    for check, names in (("proxy", both), ("tls", list(_AUTHORITIES))):
        present = [name for name in names if os.environ.get(name, "").strip()]
        if present and trust_env:
            yield Finding(check, "ok", f"{', '.join(present)}: set, and obeyed by trust_env")
        elif present:
            todo = "engine.trust_env = true obeys them; an endpoint has its own proxy and ca_file"
            yield Finding(check, "note", f"{', '.join(present)}: set, and ignored", todo)
        elif check == "proxy":
            yield Finding(check, "ok", "no proxy is set in the environment")


def _settings(loaded: LoadedConfig) -> Iterator[Finding]:
    file = f"{loaded.file}" if loaded.file else "no file; the environment alone"
    yield Finding("configuration", "ok", file)
    for setting in loaded.settings:
        if setting.origin != "default":
            what = f"{setting.key} = {setting.value}  ({setting.origin})"
            yield Finding("configuration", "ok", what)


def _keys(loaded: LoadedConfig) -> Iterator[Finding]:
    config = loaded.config
    origins = {setting.key: setting.origin for setting in loaded.settings}
    if not config.endpoints:
        todo = "export OPENAI_API_KEY=... or OPENAI_BASE_URL=...; sim/ models need neither"
        yield Finding("keys", "note", "no endpoint is configured", todo)
    for name, endpoint in config.endpoints.items():
        if endpoint.missing_key:
            routed = ", ".join(config.routed_to(name))
            over = f"; passed over for {routed}" if routed else ""
            yield Finding("keys", "note", f"{name}: {endpoint.missing_key}{over}", "set it")
        elif endpoint.key is None:
            yield Finding("keys", "ok", f"{name}: none is sent")
        else:
            origin = origins.get(f"endpoints.{name}.key", "given")
            yield Finding("keys", "ok", f"{name}: set ({origin})")
        if endpoint.exposed_key_file:
            what = f"{name}: every user of this machine may read its key file"
            yield Finding("keys", "note", what, "chmod 600 it")
        if endpoint.insecure:
            todo = "set ca_file to the authority that signed its certificate, and insecure = false"
            yield Finding("tls", "note", f"{name}: its certificate is not checked", todo)


def _models(config: EngineConfig) -> Iterator[Finding]:
    for name in config.unusable_models():
        what = f"the model {name} cannot be asked: no route of it has a key"
        yield Finding("keys", "problem", what, "set the key of one of its endpoints")


def _files(config: EngineConfig) -> Iterator[Finding]:
    try:
        import resource
    except ImportError:  # no POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= config.max_streams + 50:
        yield Finding("files", "ok", f"{soft} may be open; enough for {config.max_streams} streams")
        return
    what = f"{soft} may be open, and engine.max_streams = {config.max_streams} takes one for each"
    todo = f"ulimit -n {min(hard, config.max_streams * 2) if hard > 0 else config.max_streams * 2}"
    yield Finding("files", "note", what, todo)
