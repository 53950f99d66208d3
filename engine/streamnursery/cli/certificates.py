"""A certificate for one run of the simulator, and the authority that vouches for it."""

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamnursery.cli.exits import CliError


@contextmanager
def server_certificate(host: str, *, http2: bool = False) -> Iterator[tuple[ssl.SSLContext, str]]:
    """A server's context, and the path of its authority's PEM file, which lives as long as the
    block. The keys are in memory only. With `http2` clients may choose that.

    Raises:
        CliError: trustme is not installed.
    """
    try:
        import trustme
    except ImportError:
        why = "certificates are made with trustme, which is not installed"
        step = 'pip install "trustme>=1.2", or leave --tls out'
        raise CliError("no certificate for --tls", why, step) from None
    authority = trustme.CA(organization_name="streamnursery simulator")
    names = dict.fromkeys(["127.0.0.1", "localhost", "::1", host])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([*(["h2"] if http2 else []), "http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    with tempfile.TemporaryDirectory(prefix="streamnursery-sim-") as folder:
        path = Path(folder, "ca.pem")
        authority.cert_pem.write_to_path(path)
        yield context, str(path)
