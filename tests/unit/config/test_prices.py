"""Prices that come with the package genai-prices."""

import subprocess
import sys


def test_the_published_prices_are_there_when_the_block_is_entered() -> None:
    """Their import takes 0.1 s in which nothing else runs: not within the first request."""
    program = (
        "import sys, trio, streamnursery as sn\n"
        "async def main():\n"
        "    one = {'endpoints': {'x': {'url': 'http://127.0.0.1:9/v1'}}}\n"
        "    async with sn.open_engine({'models': {'sim/fast': {}}}):\n"
        "        print('genai_prices' in sys.modules)\n"
        "    async with sn.open_engine(one):\n"
        "        print('genai_prices' in sys.modules)\n"
        "trio.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["False", "True"], "")
