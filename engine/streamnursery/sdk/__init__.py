"""Doors into the SDKs that people already use: HTTP clients over an engine.

    import openai
    from streamnursery import sdk

    client = openai.AsyncOpenAI(http_client=sdk.async_client(), max_retries=0)

is the whole change: every request of the SDK is relayed by the engine, under its limits, retries
and budgets, and a stream that was cut raises inside the SDK (docs/sdk.md).
"""

from streamnursery.pipeline.relayed import RelayedAnswer as RelayedAnswer
from streamnursery.sdk.clients import async_client as async_client
from streamnursery.sdk.clients import client as client

__all__ = ["RelayedAnswer", "async_client", "client"]
