"""Which rows of the comparison the targets need, and which clients take part in each."""

from collections.abc import Mapping

ENGINE, AGAIN = "engine", "engine again"
LEDGER = "engine, ledger in a file"
AIOHTTP, UVLOOP = "aiohttp + orjson", "aiohttp + uvloop"
NODE, NODE_HTTP2, GO, BUN = "Node, plain", "Node, HTTP/2", "Go", "Bun"
PYREQWEST, RECEIVE = "pyreqwest", "trio, receive only"

PEERS = (AIOHTTP, UVLOOP, PYREQWEST, NODE, GO, BUN)
PLAN: Mapping[str, tuple[str, ...]] = {
    "start": (ENGINE, AGAIN, *PEERS, RECEIVE),
    "start-new-connection": (ENGINE, UVLOOP, PYREQWEST, GO, BUN),
    "first-request": (ENGINE, UVLOOP, PYREQWEST, GO, BUN),
    "start-one-at-a-time": (ENGINE, LEDGER, UVLOOP),
    "start-50-together": (ENGINE, UVLOOP),
    "start-10000-together": (ENGINE, UVLOOP),
    "hold-1000": (ENGINE, AGAIN, *PEERS),
    "hold-1000-prompts": (ENGINE, UVLOOP, GO),
    "burst-1": (ENGINE, AGAIN, *PEERS),
    "burst-100": (ENGINE, AGAIN, *PEERS),
    "paced-100x50": (ENGINE, AGAIN, *PEERS, RECEIVE),
    "paced-1000x10": (ENGINE, RECEIVE),
    "paced-10000x1": (ENGINE, RECEIVE),
    "tls-paced-100x50": (ENGINE, UVLOOP, NODE, GO),
    "http2-paced-100x50": (ENGINE, NODE_HTTP2, GO),
}
"""The engine stands again beside itself in the rows that say how noisy a run was."""

COUNTED = ("start_cost", "views")
"""Modules that look at the engine from inside, each in a process of its own in every round."""
