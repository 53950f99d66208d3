"""Every name of OpenTelemetry's conventions for generative AI that is used here.

Two editions: that of semantic conventions 1.36.0, which existing dashboards read, and that of
the repository semantic-conventions-genai of November 2026 (beside semantic conventions 1.44.0),
which the variable OTEL_SEMCONV_STABILITY_OPT_IN asks for with `gen_ai_latest_experimental`.
Both are marked "Development": names change from month to month, and they change here alone.
"""

import os
from collections.abc import Mapping

import attrs

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
LATEST = "gen_ai_latest_experimental"

SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_CHUNK_SECONDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
TOKENS = tuple(4**power for power in range(14))
"""Bucket boundaries that both editions advise."""


@attrs.frozen
class Edition:
    """What differs between the editions."""

    provider: str
    """Attribute: which provider."""
    cache_write: str
    """Attribute: input tokens written to the provider's cache."""
    duration: str
    first_chunk: str
    """Histograms, in seconds."""
    tokens: str | None
    """Histogram by `gen_ai.token.type`; None: the two and the counters below."""
    input_tokens: str = ""
    output_tokens: str = ""
    """Histograms of one request's tokens."""
    usage: str = ""
    """How the names of the counters begin."""
    systems: Mapping[str, str] = attrs.field(factory=dict)
    """Values of `provider` that are called otherwise than in `PROVIDERS`."""


V1_36 = Edition(
    provider="gen_ai.system",
    cache_write="gen_ai.usage.cache_creation.input_tokens",
    duration="gen_ai.client.operation.duration",
    first_chunk="gen_ai.client.operation.time_to_first_chunk",
    tokens="gen_ai.client.token.usage",
    systems={"azure.ai.openai": "az.ai.openai", "x_ai": "xai"},
)
V2026_11 = Edition(
    provider="gen_ai.provider.name",
    cache_write="gen_ai.usage.cache_write.input_tokens",
    duration="gen_ai.client.inference.duration",
    first_chunk="gen_ai.client.inference.time_to_first_chunk",
    tokens=None,
    input_tokens="gen_ai.client.inference.operation.input_tokens",
    output_tokens="gen_ai.client.inference.operation.output_tokens",
    usage="gen_ai.client.inference.usage.",
)

# Attributes that both editions have.
OPERATION = "gen_ai.operation.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"
MODALITY = "gen_ai.token.modality"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
STATUS_CODE = "http.response.status_code"

COST = "streamnursery.cost"
"""Counter: US dollars. The conventions have none."""

REQUEST_FIELDS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
    "reasoning_effort": "gen_ai.request.reasoning.level",
}
"""Fields of a `ChatRequest`, and their attributes."""

OPERATIONS = {"gemini": "generate_content"}
"""What an inference is called in a dialect; "chat" in all others."""

PROVIDERS = (
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("openai.azure.com", "azure.ai.openai"),
    ("amazonaws.com", "aws.bedrock"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("api.cohere.com", "cohere"),
    ("api.moonshot.ai", "moonshot_ai"),
)
"""Ends of host names, and what the conventions call who answers there. The provider of another
host is called as its endpoint is."""


def edition() -> Edition:
    """The one that the environment asks for."""
    asked = os.environ.get(OPT_IN, "")
    return V2026_11 if LATEST in {word.strip() for word in asked.split(",")} else V1_36


def provider_name(host: str, endpoint: str, names: Edition) -> str:
    """Who answers at `host`, in the words of an edition."""
    for end, name in PROVIDERS:
        if host == end or host.endswith(("." + end, "-" + end)):
            return names.systems.get(name, name)
    return endpoint
