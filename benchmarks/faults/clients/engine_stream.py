"""engine.Engine.stream on trio."""

import json
import sys

import trio

import engine

base, model, timeout = sys.argv[1:]
patience = {"first_token": float(timeout), "idle": float(timeout)} if timeout else {}
config = {
    "endpoints": {"main": {"url": base}},
    "defaults": {"patience": patience},
}


async def main() -> None:
    text, end = "", "whole"
    began = trio.current_time()
    async with engine.open_engine(config) as eng:
        try:
            async with eng.stream(model, "hi") as stream:
                async for piece in stream.text():
                    text += piece
        except engine.EngineError as error:
            end = type(error).__name__
    seconds = trio.current_time() - began
    print(json.dumps({"text": text, "end": end, "seconds": seconds}))


trio.run(main)
