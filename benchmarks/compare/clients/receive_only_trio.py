"""The limit for anything on trio: a task per stream that receives and does not look.

It counts tokens by their marks at C speed and reads a stamp where it is asked to. Plain only.
"""

import json
import socket
from urllib.parse import urlsplit

import on_trio
import trio
from job import Answer, Job

job = Job.from_arguments()
URL = urlsplit(job.base)
HEAD = (
    f"POST {URL.path}/chat/completions HTTP/1.1\r\nhost: {URL.netloc}\r\n"
    "content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)
MARK = b'{"content":"'
LAP = len(MARK) - 1
idle: list[socket.socket] = []


async def connect() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    try:
        sock.connect((URL.hostname, URL.port))
    except BlockingIOError:
        await trio.lowlevel.wait_writable(sock)
    return sock


async def consume(answer: Answer) -> None:
    sock = idle.pop() if idle else await connect()
    try:
        body = json.dumps(job.body(answer)).encode()
        sock.send(HEAD.encode() % len(body) + body)
        await receive(sock, answer)
    except BaseException:
        sock.close()
        raise
    if job.fresh:
        sock.close()
    else:
        idle.append(sock)


async def receive(sock: socket.socket, answer: Answer) -> None:
    tail = b""
    while True:
        await trio.lowlevel.wait_readable(sock)
        data = sock.recv(65536)
        if job.stamped or job.hold:
            at = data.find(MARK)
            while at >= 0:
                answer.saw(data[at + 12 : at + 33].decode())
                at = data.find(MARK, at + 13)
        else:
            job.tokens += data.count(MARK) + (tail + data[:LAP]).count(MARK)
            tail = (tail + data)[-LAP:] if len(data) < LAP else data[-LAP:]
        if data.endswith(b"0\r\n\r\n"):
            answer.ended = True
            return


trio.run(on_trio.run, job, consume)
for left in idle:
    left.close()
