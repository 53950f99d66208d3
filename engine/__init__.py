"""Run thousands of LLM streams at once without losing one."""

from engine._version import __version__

__all__ = ["__version__"]
