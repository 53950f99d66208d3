"""Prints the digest of one world of random traffic per seed: `python -m tests.support.replay 0 5`.

Run in two processes, the digests must be the same.
"""

import sys

from streamnursery.testing import World, random_traffic


def digest(seed: int, streams: int = 20) -> str:
    world = World(seed)
    world.run(random_traffic(world.dice, streams).run)
    return world.digest()


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        print(number, digest(number))
