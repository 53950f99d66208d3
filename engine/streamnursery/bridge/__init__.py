"""The engine in its own thread, and what crosses between it and those who use it from
asyncio, from another trio run or from plain threads.

`outbox.py` is the border, without I/O; `thread.py` the engine's thread; `channel.py` and
`streams.py` are a stream's half in that thread; `hosts.py` and `waits.py` are ways of waiting."""
