"""TLS over any `Connection`, and itself one.

Rule 1: an `ssl.SSLObject` on two memory buffers, driven by the reads that happen anyway: no
        task, no lock, and one read joins all records that one read below brought.
Rule 2: the end of the data counts only with the peer's close_notify. A bare FIN may be an
        attacker's: it reads as a reset (RFC 8446 6.1).
Rule 3: which authorities are trusted is the configuration's business: the environment is
        consulted only with `trust_env`, which `ssl`'s own defaults would not ask about.
Rule 4: closing does not wait, so no close_notify is sent: HTTP messages delimit themselves.
"""

import os
import ssl
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import cast

import certifi
import trio

from streamnursery.transport.network import (
    READ_SIZE,
    Announcing,
    Buffer,
    Connection,
    without_frames,
)
from streamnursery.values.errors import ConfigError, ConnectError, TlsError
from streamnursery.values.http import Peer

HTTP_1_1 = ("http/1.1",)
HTTP_2 = ("h2",)
_HTTP_2_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aDSS"
"""Of the suites of TLS 1.2 that are offered otherwise, those that RFC 9113 (9.2.2, appendix A) does
not bar: an ephemeral key, and AEAD. Of TLS 1.3 there are no others."""


class TlsContexts:
    """One context per way to check a certificate, made when first needed and shared."""

    def __init__(self, *, trust_env: bool = False) -> None:
        self._trust_env = trust_env
        self._made: dict[tuple[object, ...], ssl.SSLContext] = {}

    def get(self, peer: Peer, alpn: tuple[str, ...] = HTTP_1_1) -> ssl.SSLContext:
        """The context for `peer`.

        Raises:
            ConfigError: the CA file or the client certificate cannot be used.
        """
        key = (peer.ca_file, peer.insecure, peer.client_cert, peer.client_key, alpn)
        context = self._made.get(key)
        if context is None:
            context = self._made[key] = self._make(peer, alpn)
        return context

    def _make(self, peer: Peer, alpn: tuple[str, ...]) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Renegotiation would make a read want to write.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        # Python 3.11.2 sets it: an answer that was cut would look as if it had ended.
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        context.set_alpn_protocols(list(alpn))
        if alpn == HTTP_2:
            context.set_ciphers(_HTTP_2_CIPHERS)
        if peer.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif peer.ca_file:
            _load_ca_file(context, peer.ca_file)
            # What stands in the file is trusted as it stands, root or not.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        elif self._trust_env and os.environ.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
            context.load_default_certs()
        else:
            _load_system_authorities(context)
        if peer.client_cert:
            _load_client_certificate(context, peer.client_cert, peer.client_key)
        return context


def _load_ca_file(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:
        msg = f"ca_file {ca_file!r} cannot be used ({error}); give the path of a PEM file"
        raise ConfigError(msg) from None


def _load_client_certificate(context: ssl.SSLContext, cert: str, key: str) -> None:
    # Without a password of ours OpenSSL would ask for one on the terminal, and wait.
    try:
        context.load_cert_chain(cert, key or None, password="")
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            why = "the key belongs to another certificate"
        else:
            why = getattr(error, "strerror", None) or str(error)
        msg = (
            f"client_cert {cert!r} with client_key {key!r} cannot be used ({why}); give PEM files "
            "of the certificate and of its key, not encrypted"
        )
        raise ConfigError(msg) from None


def _load_system_authorities(context: ssl.SSLContext) -> None:
    """What OpenSSL was built to trust; certifi's list where that is not installed."""
    built_in = ssl.get_default_verify_paths()
    cafile, capath = Path(built_in.openssl_cafile), Path(built_in.openssl_capath)
    if cafile.is_file():
        context.load_verify_locations(cafile=cafile)
    elif capath.is_dir() and any(capath.iterdir()):
        context.load_verify_locations(capath=capath)
    else:
        context.load_verify_locations(cafile=certifi.where())


async def start_tls(connection: Connection, context: ssl.SSLContext, host: str) -> "TlsConnection":
    """Shake hands over `connection`, which is closed if that fails or is cancelled.

    Raises:
        TlsError: the peer's certificate or protocol is not acceptable.
        ConnectError: the connection broke meanwhile.
    """
    try:
        tls = TlsConnection(connection, context, host.rstrip("."))
        problem = await tls.shake_hands()
        if problem is not None:
            raise _handshake_error(problem, host) from without_frames(problem)
    except ValueError:
        connection.close()
        msg = f"{host!r:.80} cannot be the name of a TLS server"
        raise TlsError(msg) from None
    except BaseException:
        connection.close()
        raise
    return tls


def _handshake_error(problem: OSError, host: str) -> TlsError | ConnectError:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return TlsError(
            f"the certificate of {host} is not trusted: {problem.verify_message}; check the host "
            "name and its clock, or set the endpoint's ca_file to the authority that signed it"
        )
    if not isinstance(problem, ssl.SSLError) or _is_end(problem):
        return ConnectError(f"{host} closed the connection during the TLS handshake; try again")
    reason = (problem.reason or "unknown").replace("_", " ").lower()
    return TlsError(
        f"no TLS connection to {host}: {reason}; check that the url's scheme and port belong "
        "together and that the server speaks TLS 1.2 or later, for http = '2' with an AEAD cipher"
    )


class TlsConnection:
    """An encrypted connection; see `Connection`."""

    def __init__(self, connection: Connection, context: ssl.SSLContext, host: str) -> None:
        self._below = connection
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._may_have_more = True
        """Data, or news such as close_notify, may wait here, above the connection below."""
        self._failure: str | None = None

    @property
    def alpn(self) -> str | None:
        """The protocol that was agreed on."""
        return self._tls.selected_alpn_protocol()

    @property
    def barred(self) -> bool:
        """The cipher suite that was agreed on is none for HTTP/2."""
        name, version, _ = self._tls.cipher() or ("", "", 0)
        ephemeral = name.startswith(("ECDHE-", "DHE-"))
        return version != "TLSv1.3" and not (ephemeral and ("GCM" in name or "CHACHA20" in name))

    async def shake_hands(self) -> OSError | None:
        """None once encrypted; otherwise what went wrong, as a value."""
        try:
            while not self._handshake_step():
                await self._flush()
                await self._below.wait_readable()
                self._fill()
            await self._flush()
        except OSError as error:
            return error
        return None

    def _handshake_step(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def recv_nowait(self, max_bytes: int) -> bytes:
        """As `Connection`; FIN without close_notify is a ConnectionResetError."""
        parts: list[bytes] = []
        if self._may_have_more:
            self._decrypt(parts, max_bytes)
        if not parts:
            self._fill()  # passes WouldBlock on
            self._decrypt(parts, max_bytes)
        if not parts:
            raise trio.WouldBlock
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _decrypt(self, parts: list[bytes], max_bytes: int) -> None:
        """Append the records that are there; b"" alone stands for close_notify.

        Bad news waits until the data before it has been handed out.
        """
        self._may_have_more = True
        try:
            while max_bytes > 0 and self._failure is None:
                data = self._tls.read(max_bytes)
                if data or not parts:
                    parts.append(data)
                if not data:
                    return
                max_bytes -= len(data)
                if not self._incoming.pending and not self._tls.pending():
                    # Asking once more would cost an exception to hear the same.
                    self._may_have_more = False
                    return
        except ssl.SSLWantReadError:
            self._may_have_more = False
        except ssl.SSLError as error:
            # Kept: asked again, OpenSSL may call a broken stream closed.
            self._failure = _read_failure(error)
        if self._failure is not None and not parts:
            raise ConnectionResetError(self._failure)

    def _fill(self) -> None:
        """Move one read from below into the TLS machine."""
        data = self._below.recv_nowait(READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    @property
    def readable_at(self) -> float:
        """As `Announcing`; what lies decrypted here is readable at once."""
        return -inf if self._may_have_more else getattr(self._below, "readable_at", inf)

    @property
    def on_readable(self) -> Callable[[], None] | None:
        """As `Announcing`, if the connection below announces itself; AttributeError if not."""
        return cast("Announcing", self._below).on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        cast("Announcing", self._below).on_readable = callback

    async def wait_readable(self) -> None:
        if self._may_have_more:
            await trio.lowlevel.checkpoint()
        else:
            await self._below.wait_readable()

    async def send_all(self, data: Buffer) -> None:
        with memoryview(data) as view:
            for start in range(0, len(view), READ_SIZE):
                self._encrypt(view, start)
                await self._flush()

    def _encrypt(self, view: memoryview, start: int) -> None:
        with view[start : start + READ_SIZE] as part:
            try:
                self._tls.write(part)
            except ssl.SSLError as error:
                raise BrokenPipeError(_read_failure(error)) from None

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await self._below.send_all(data)

    def close(self) -> None:
        self._below.close()

    def fileno(self) -> int | None:
        return self._below.fileno()


def _is_end(error: ssl.SSLError) -> bool:
    """FIN without close_notify; Python 3.11.2 has no error of its own for it."""
    return isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"


def _read_failure(error: ssl.SSLError) -> str:
    if _is_end(error):
        return "the TLS connection ended without its closing record"
    if "CERTIFICATE_REQUIRED" in (error.reason or ""):
        return "the server wants a certificate of the client; set the endpoint's client_cert"
    return f"the TLS connection is corrupt: {(error.reason or 'unknown').lower()}"
