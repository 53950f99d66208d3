"""Own calls among the requests of a thread: each has its own thread."""

import threading
from typing import Any

from streamnursery.bridge.own_calls import OwnCall
from streamnursery.scheduler.run.own_calls import engine_error, reporting
from streamnursery.sync.calls import SyncCallBlock
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.errors import StreamCancelledError


def run_call(bridge: SyncBridge, own: OwnCall) -> None:
    """A call to its end, in the calling thread. A function that runs cannot be cancelled; what
    waits for a slot or for its next try can."""
    gone = threading.Event()
    block: list[SyncCallBlock] = []

    def stop() -> None:
        gone.set()
        for waiting in block:
            waiting.stop_waiting()

    own.stop = stop
    try:
        own.value = _answer(bridge, own, gone, block)
    except Exception as error:  # noqa: BLE001 - an outcome
        own.error = engine_error(own.call, error)
    finally:
        own.tell_over()


def _answer(
    bridge: SyncBridge, own: OwnCall, gone: threading.Event, block: list[SyncCallBlock]
) -> Any:
    tries, call = own.tries, own.call
    while not (own.left or gone.is_set()):
        block[:] = [SyncCallBlock(bridge, lambda _: lambda engine: engine._try(tries))]
        try:
            with block[0] as lease, reporting(lease):
                return call.async_fn(*call.args)
        except Exception:
            if tries.wait is None:
                raise
        gone.wait(tries.wait)
    raise StreamCancelledError("the block was left before the call had ended")
