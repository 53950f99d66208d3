"""The seams between an engine and its world, disturbed: network, connections, disk, admission.

Each stands around the real one and does what it does, later, in smaller pieces or once for nothing.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import trio

from streamnursery.core.buggify import Disturber
from streamnursery.storage.disk import Disk
from streamnursery.storage.owners import Owner
from streamnursery.supervisor.ports import Admission, AttemptLease
from streamnursery.transport.network import Address, Announcing, Buffer, Connection, Network
from streamnursery.values.demand import Demand

T = TypeVar("T")

SEAMS = {
    "admission.asked": "a request is slow to ask for its slots",
    "admission.granted": "a request has its slots, and is slow to use them",
    "connection.read": "a read brings a byte or a few",
    "connection.send": "bytes are slow to be sent",
    "connection.woken": "a connection is read that has nothing to read",
    "disk.done": "a job of the disk is done, and its caller is slow to continue",
    "disk.run": "a job of the disk starts late",
    "network.connected": "a connection is made, and slow to be used",
    "network.resolve": "a name is slow to be looked up",
}


class DisturbedNetwork:
    """A `Network`."""

    def __init__(self, below: Network, world: Disturber) -> None:
        self._below = below
        self._world = world

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await self._world.pause("network.resolve")
        return await self._below.resolve(host, port)

    async def connect(self, address: Address) -> Connection:
        connection = await self._below.connect(address)
        try:
            await self._world.pause("network.connected")
        except BaseException:
            connection.close()
            raise
        return DisturbedConnection(connection, self._world)


class DisturbedConnection:
    """A `Connection`, announcing where the one below is."""

    def __init__(self, below: Connection, world: Disturber) -> None:
        self._below = below
        self._world = world

    def recv_nowait(self, max_bytes: int) -> bytes:
        if self._world.strikes("connection.woken"):
            raise trio.WouldBlock
        if self._world.strikes("connection.read"):
            max_bytes = 3
        return self._below.recv_nowait(max_bytes)

    @property
    def readable_at(self) -> float:
        return cast("Announcing", self._below).readable_at

    @property
    def on_readable(self) -> Callable[[], None] | None:
        return cast("Announcing", self._below).on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        cast("Announcing", self._below).on_readable = callback

    async def wait_readable(self) -> None:
        await self._below.wait_readable()

    async def send_all(self, data: Buffer) -> None:
        await self._world.pause("connection.send")
        await self._below.send_all(data)

    def close(self) -> None:
        self._below.close()

    @property
    def closed(self) -> bool:
        return bool(getattr(self._below, "closed", False))

    def fileno(self) -> int | None:
        return self._below.fileno()


class DisturbedDisk:
    """A `Disk`."""

    def __init__(self, below: Disk, world: Disturber) -> None:
        self._below = below
        self._world = world

    async def run(self, job: Callable[[], T]) -> T:
        with trio.CancelScope(shield=True):  # as the disk itself: a job that has begun ends
            await self._world.pause("disk.run")
            done = await self._below.run(job)
            await self._world.pause("disk.done")
        return done

    def connect(self, path: str) -> sqlite3.Connection:
        return self._below.connect(path)

    def owner(self) -> Owner:
        return self._below.owner()

    def lives(self, owner: Owner) -> bool:
        return self._below.lives(owner)


class DisturbedAdmission:
    """The supervisor's `Admission`."""

    def __init__(self, below: Admission, world: Disturber) -> None:
        self._below = below
        self._world = world

    @property
    def max_queued(self) -> int:
        return self._below.max_queued

    @max_queued.setter
    def max_queued(self, most: int) -> None:
        self._below.max_queued = most

    def acquire_nowait(self, demand: Demand) -> AttemptLease:
        return self._below.acquire_nowait(demand)

    async def acquire(self, demand: Demand) -> AttemptLease:
        await self._world.pause("admission.asked")
        lease = await self._below.acquire(demand)
        try:
            await self._world.pause("admission.granted")
        except BaseException:
            lease.release()
            raise
        return lease

    def binding_limit(self, demand: Demand) -> str:
        return self._below.binding_limit(demand)
