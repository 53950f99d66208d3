"""A chat back end over plain TCP: one line in, an answer streamed back, and whoever hangs up
frees their slot at once. Three people call; the second one loses patience.

python examples/chat_backend.py
"""

import trio

import streamnursery as sn

MODEL = "sim/gemini-2.5-flash"


async def serve(eng: sn.Engine, connection: trio.SocketStream) -> None:
    """Answer one question. Leaving the block of the stream ends it, also at the provider."""
    async with connection:
        question = (await connection.receive_some(4096)).decode()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_when_gone, connection, nursery.cancel_scope)
            try:
                async with eng.stream(MODEL, question, max_tokens=20, timeout=30) as stream:
                    async for text in stream.text():
                        await connection.send_all(text.encode())
            except sn.EngineError as error:
                await connection.send_all(f"\n[{type(error).__name__}]".encode())
            nursery.cancel_scope.cancel()


async def cancel_when_gone(connection: trio.SocketStream, scope: trio.CancelScope) -> None:
    try:
        while await connection.receive_some(1024):
            pass
    except trio.BrokenResourceError:
        pass
    scope.cancel()


async def call(port: int, name: str, *, patience: float) -> None:
    """A client; `patience` in seconds."""
    heard = b""
    async with await trio.open_tcp_stream("127.0.0.1", port) as connection:
        await connection.send_all(f"Hello, I am {name}".encode())
        with trio.move_on_after(patience) as scope:
            async for piece in connection:
                heard += piece
    how = "hung up" if scope.cancelled_caught else "heard"
    print(f"{name} {how}: {heard.decode(errors='replace')[:60]}")


async def main() -> None:
    async with sn.open_engine({}) as eng, trio.open_nursery() as server:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def handler(connection: trio.SocketStream) -> None:
            await serve(eng, connection)

        server.start_soon(trio.serve_listeners, handler, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as callers:
            for name, patience in (("Ann", 30), ("Bob", 0.3), ("Eve", 30)):
                callers.start_soon(lambda n, p: call(port, n, patience=p), name, patience)
        await eng.drain(timeout=5)
        total = eng.statistics().total
        print(f"{total.succeeded} answered, {total.cancelled} cancelled, {total.active} active")
        server.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
