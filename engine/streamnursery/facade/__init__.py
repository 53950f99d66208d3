"""The public verbs: `open_engine` and `Engine`. `engine.py` has the verbs, `opening.py` the block
they live in, `parts.py` what an engine is put together from."""

from streamnursery.facade.engine import DrainReport, Engine
from streamnursery.facade.opening import open_engine

__all__ = ["DrainReport", "Engine", "open_engine"]
