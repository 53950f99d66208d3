"""HTTP/2 over TLS through nginx: the engine, the engine over HTTP/1.1, and httpx[http2].

    python -m benchmarks.compare.http2 [--rounds 3]

nginx stands before the load server, on core 0 with it; the client has core 1. One row is without
it: `null_http2.py` sends every token in a frame of its own, over HTTP/2 only. Needs nginx and what
`setup` makes. CPU and memory are differences of two runs, as everywhere here; medians.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.compare.measure import ClientFailedError, Sample, Server, pinned, run, server
from benchmarks.compare.roster import CERTIFICATE, HERE, KEY, Client, Job

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
worker_rlimit_nofile 16384; events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_buffer_size 64k;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 1024; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    ssl_certificate {certificate}; ssl_certificate_key {key};
    keepalive_requests 1000000; http2_max_concurrent_streams 128;
    location / {{ proxy_pass http://up; }}
  }}
}}
"""


def _python(script: str, http: str) -> Client:
    def command(job: Job) -> list[str]:
        words = {name: getattr(job, name) for name in Job.__annotations__} | {"http": http}
        return [sys.executable, str(HERE / "clients" / script), json.dumps(words)]

    version = "HTTP/2" if http == "2" else "HTTP/1.1"
    return Client(f"{script.split('_')[0]}, {version}", command, 5)


CLIENTS = (
    _python("engine_stream.py", "2"),
    _python("engine_stream.py", "1.1"),
    _python("httpx_trio.py", "2"),
)


@contextmanager
def front() -> Iterator[Server]:
    """The load server behind nginx."""
    with server() as behind, tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        values = {"folder": folder, "port": port, "upstream": behind.port}
        values |= {"certificate": CERTIFICATE, "key": KEY}
        Path(folder, "nginx.conf").write_text(NGINX.format(**values))
        words = [shutil.which("nginx") or "nginx", "-c", f"{folder}/nginx.conf", "-p", folder]
        process = subprocess.Popen([*pinned(0), *words], stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield Server(port, str(CERTIFICATE))
        finally:
            process.terminate()
            process.wait(10)


@contextmanager
def bare() -> Iterator[Server]:
    """A server that sends a frame per token."""
    words = ["-m", "benchmarks.compare.null_http2", str(CERTIFICATE), str(KEY), "1000"]
    command = [*pinned(0), sys.executable, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            yield Server(int(process.stdout.readline()), str(CERTIFICATE))
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise ClientFailedError("nginx did not start")


def difference(client: Client, target: Server, small: Job, large: Job) -> tuple[Sample, Sample]:
    return run(client, small, target), run(client, large, target)


def burst(client: Client, target: Server) -> float:
    """CPU per token in microseconds, of 20 streams at once whose answers lie ready."""
    base = f"{target.base('burst-1000')}"
    few, many = difference(client, target, _job(base, 20, 1), _job(base, 20, 9))
    return (many.cpu - few.cpu) / (many.tokens - few.tokens) * 1e6


def crowd(client: Client, target: Server) -> float:
    """CPU per token in microseconds, of 500 streams at 10 tokens/s each."""
    return _paced(client, target, 500, 10)


def few(client: Client, target: Server) -> float:
    """The same of 10 streams at 50 tokens/s each."""
    return _paced(client, target, 10, 50)


def _paced(client: Client, target: Server, streams: int, rate: int) -> float:
    short, long = (target.base(f"paced-{rate * seconds}-{rate}") for seconds in (2, 8))
    a, b = difference(client, target, _job(short, streams), _job(long, streams))
    return (b.cpu - a.cpu) / (b.tokens - a.tokens) * 1e6


def hold(client: Client, target: Server) -> float:
    """Resident KiB per stream, from 20 to 500 that wait."""
    base = target.base("hold-3")
    few, many = difference(client, target, _job(base, 20, hold=True), _job(base, 500, hold=True))
    return ((many.held_kib or 0) - (few.held_kib or 0)) / 480


def _job(base: str, streams: int, rounds: int = 1, *, hold: bool = False) -> Job:
    return Job(base, streams, rounds, hold=hold, ca=str(CERTIFICATE))


ROWS = {
    "burst, us/token": (front, burst),
    "burst, a frame a token, us/token": (bare, burst),
    "paced 500 x 10/s, us/token": (front, crowd),
    "paced 10 x 50/s, us/token": (front, few),
    "memory, KiB/stream": (front, hold),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    arguments = parser.parse_args()
    print("| row | " + " | ".join(client.name for client in CLIENTS) + " |")
    print("|---" * (len(CLIENTS) + 1) + "|")
    for name in arguments.rows:
        where, measure = ROWS[name]
        figures: dict[str, list[float]] = {client.name: [] for client in CLIENTS}
        for _ in range(arguments.rounds):
            for client in CLIENTS:
                if where is bare and client.name.endswith("1.1"):
                    continue
                with where() as target:
                    try:
                        figures[client.name].append(measure(client, target))
                    except ClientFailedError as error:
                        print(f"{client.name}: {error}", file=sys.stderr)
        cells = [f"{median(found):.1f}" if found else "-" for found in figures.values()]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
