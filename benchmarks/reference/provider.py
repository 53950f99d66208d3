"""The simulated provider of the reference figures, in a process of its own.

    python -m benchmarks.reference.provider SEED

Prints its URL; when its stdin ends, how many milliseconds each request waited for the first token,
as the provider itself saw it.
"""

import json
import sys
from random import Random

import trio

from streamnursery.simulator import Profile, Provider, serve_loopback

PROFILES = {
    "deepseek-like": Profile(0.22, 0.22, 85, (425, 425)),
    "gemini-like": Profile(0.0984, 0.18, None, (8, 8)),
}
"""The paces that the quoted figures follow from: ten streams of 85 tokens/s are 850 tokens/s, and
of a lognormal with this mean and 95th percentile nine in ten lie between 45 and 180 ms."""


async def main() -> None:
    """Serve until stdin ends."""
    provider = Provider(dice=Random(int(sys.argv[1])), models=PROFILES)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        print(server.url, flush=True)
        stdin = trio.lowlevel.FdStream(sys.stdin.fileno())
        while await stdin.receive_some():
            pass
        await server.stop()
        nursery.cancel_scope.cancel()
    waits = [
        round(1000 * (record.first_token_at - record.received_at), 3)
        for record in provider.log
        if record.first_token_at is not None
    ]
    print(json.dumps(waits))


if __name__ == "__main__":
    trio.run(main)
