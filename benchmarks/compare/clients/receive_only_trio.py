"""The limit for anything on trio: a task per stream that receives and does not look.

It counts tokens by their marks at C speed and reads a stamp where it is asked to. Plain only.
"""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import on_trio
import trio
from job import Job

job = Job.from_arguments()
URL = urlsplit(job.base)
BODY = b'{"model":"bench","messages":[{"role":"user","content":"hi"}],"stream":true}'
REQUEST = (
    f"POST {URL.path}/chat/completions HTTP/1.1\r\nhost: {URL.netloc}\r\n"
    f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
).encode() + BODY
MARK = b'{"content":" t'
idle: list[socket.socket] = []


async def connect() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect((URL.hostname, URL.port))
    except BlockingIOError:
        await trio.lowlevel.wait_writable(sock)
    return sock


async def consume(saw: Callable[[str], None]) -> None:
    sock = idle.pop() if idle else await connect()
    try:
        sock.send(REQUEST)
        await receive(sock, saw)
    except BaseException:
        sock.close()
        raise
    idle.append(sock)


async def receive(sock: socket.socket, saw: Callable[[str], None]) -> None:
    tail = b""
    while True:
        await trio.lowlevel.wait_readable(sock)
        data = sock.recv(65536)
        if job.stamped or job.hold:
            at = data.find(MARK)
            while at >= 0:
                saw(data[at + 12 : at + 33].decode())
                at = data.find(MARK, at + 40)
        else:
            job.tokens += data.count(MARK) + (tail + data[:13]).count(MARK)
            tail = (tail + data)[-13:] if len(data) < 13 else data[-13:]
        if data.endswith(b"0\r\n\r\n"):
            return


trio.run(on_trio.run, job, consume)
for left in idle:
    left.close()
