"""Connections that meet the network faults of a plan before they are served."""

import ssl
from functools import partial
from math import inf

import trio

from streamnursery.serving.call import Handler
from streamnursery.serving.service import Service
from streamnursery.serving.stream import READ, ServerStream, receive
from streamnursery.simulator.fault import NetworkFault
from streamnursery.simulator.script import BlackHole, CloseIdle, RefuseConnect, SlowTls


def accept(
    service: Service,
    stream: ServerStream,
    handler: Handler,
    faults: tuple[NetworkFault, ...],
    tls: ssl.SSLContext | None,
) -> None:
    """Serve `stream` as `faults` have it."""
    if any(isinstance(fault, RefuseConnect) for fault in faults):
        service.refuse(stream)
        return
    seconds = _seconds_of(faults)
    service.accept(
        stream,
        handler,
        tls,
        opening=partial(_held_up, seconds=seconds) if seconds else None,
        close_idle=min((f.after for f in faults if isinstance(f, CloseIdle)), default=inf),
    )


def _seconds_of(faults: tuple[NetworkFault, ...]) -> float:
    """How long the connection is held up before anything is said on it."""
    seconds = 0.0
    for fault in faults:
        if isinstance(fault, BlackHole):
            return inf
        if isinstance(fault, SlowTls):
            seconds += inf if fault.seconds is None else fault.seconds
    return seconds


async def _held_up(stream: ServerStream, *, seconds: float) -> bytes | None:
    """Say nothing for so long; what the client sent meanwhile, or None if it left."""
    early = b""
    with trio.move_on_after(seconds):
        while len(early) < READ:
            data = await receive(stream)
            if not data:
                return None
            early += data
        await trio.sleep_forever()
    return early
