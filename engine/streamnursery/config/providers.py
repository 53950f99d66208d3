"""Endpoints that exist because the environment holds a provider's usual variables.

Rule 1: a provider's credential goes to that provider's URL and nowhere else. An endpoint whose
        `url` in the configuration gets nothing from here: it needs its own `key` line.
Rule 2: everything here yields to what the user wrote.
"""

from collections.abc import Mapping

import attrs

from streamnursery.config.credentials import HEADER, KEY, Absent, variable
from streamnursery.config.kinds import URL, Spot
from streamnursery.config.layer import Found, Layer
from streamnursery.config.report import Place, Report
from streamnursery.values.origin import BaseUrl
from streamnursery.values.settings import Endpoint


@attrs.frozen
class ProviderPreset:
    """A provider with an OpenAI-compatible address and the variables its own clients read."""

    name: str
    url: str
    keys: tuple[str, ...]
    """Variables that may hold the key; the first that is set counts."""
    url_variable: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers and the variables that fill them."""
    options: tuple[tuple[str, bool | str], ...] = ()
    """What the provider's own server wants; another server behind `url_variable` may not."""
    families: tuple[str, ...] = ()
    """How the names of its models begin, where no other provider's do."""
    spellings: tuple[tuple[str, str], ...] = ()
    """Names that are in use elsewhere, and its own for them."""
    evidence: str = ""
    """What its row stands on: "recorded", and what, or whose specification."""
    dialect: str = ""
    """Its language at its own server; empty: the default one."""
    default_model: str = ""
    """Asked by the command where no model is named."""


_CLAUDE: Mapping[str, tuple[int, ...]] = {
    "haiku-4": (5,),
    "opus-4": (1, 5, 6, 7, 8),
    "sonnet-4": (5, 6),
}
"""Models of which price lists write a point where the API has a dash."""

PROVIDERS = (
    ProviderPreset(
        "openai",
        "https://api.openai.com/v1",
        ("OPENAI_API_KEY",),
        url_variable="OPENAI_BASE_URL",
        headers=(
            ("OpenAI-Organization", "OPENAI_ORG_ID"),
            ("OpenAI-Project", "OPENAI_PROJECT_ID"),
        ),
        options=(("max_tokens_field", "max_completion_tokens"),),
        families=("gpt-", "o1", "o3", "o4", "chatgpt-"),
        evidence="recorded: text, tools, refusal; its own client",
        default_model="gpt-4.1-mini",
    ),
    ProviderPreset(
        "anthropic",
        "https://api.anthropic.com/v1",
        ("ANTHROPIC_API_KEY",),
        dialect="anthropic-messages",
        families=("claude-",),
        spellings=tuple(
            (f"claude-{name}.{minor}", f"claude-{name}-{minor}")
            for name, minors in _CLAUDE.items()
            for minor in minors
        ),
        evidence="recorded: text, tools, thinking, refusal, server tools; its own client",
        default_model="claude-sonnet-4-5",
    ),
    ProviderPreset(
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        dialect="gemini",
        families=("gemini-", "gemma-"),
        evidence="recorded: text, tools, thinking, server tools; its own client",
        default_model="gemini-2.5-flash",
    ),
    ProviderPreset(
        "deepseek",
        "https://api.deepseek.com",
        ("DEEPSEEK_API_KEY",),
        families=("deepseek-",),
        spellings=(
            ("deepseek-v3.2", "deepseek-chat"),
            ("deepseek-v3.2-thinking", "deepseek-reasoner"),
        ),
        evidence="recorded: tools, reasoning",
    ),
    ProviderPreset(
        "openrouter",
        "https://openrouter.ai/api/v1",
        ("OPENROUTER_API_KEY",),
        evidence="recorded: text, reasoning, server tools",
    ),
    ProviderPreset(
        "groq",
        "https://api.groq.com/openai/v1",
        ("GROQ_API_KEY",),
        options=(("max_tokens_field", "max_completion_tokens"),),
        evidence="recorded: text, tools, error inside the stream",
    ),
    ProviderPreset(
        "mistral",
        "https://api.mistral.ai/v1",
        ("MISTRAL_API_KEY",),
        options=(
            ("include_usage", False),
            ("seed_field", "random_seed"),
            ("refused_fields", "user"),
            ("short_tool_call_ids", True),
            ("assistant_prefix", "flag"),
        ),
        families=("mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-"),
        evidence="recorded: text, tools; fields by the specification in its client, 3.7.0",
    ),
)
UNTESTED = ("cerebras", "fireworks", "moonshot", "perplexity", "together", "xai", "zai")
"""Servers of the chat API of which there is no proof here: write their `url` and `key` by hand."""

DEFAULT = "openai"
"""The provider of every model name that has no route."""


def provider_names() -> list[Place]:
    """Endpoints that can be set by variables without any file."""
    return [("endpoints", provider.name) for provider in PROVIDERS]


def key_variable(name: str) -> str | None:
    """The variable that would make an endpoint of this name exist."""
    return next((provider.keys[0] for provider in PROVIDERS if provider.name == name), None)


def default_model(endpoint: Endpoint) -> str:
    """The model to ask at a provider's own server when none is named; "" for any other server."""
    url = str(endpoint.url)
    return next((preset.default_model for preset in PROVIDERS if preset.url == url), "")


def provider_at(url: BaseUrl) -> ProviderPreset | None:
    """Whose own server that base URL is."""
    text = str(url)
    return next((preset for preset in PROVIDERS if preset.url == text), None)


def read_providers(written: Layer, spot: Spot, report: Report, *, unasked: bool) -> Layer:
    """The lowest layer: what the environment gives to endpoints that `written` leaves open.

    A route mentions its endpoint. With `unasked`, also the endpoints that are not mentioned and
    whose variables are set.
    """
    layer = Layer()
    routed = _routed(written)
    for provider in PROVIDERS:
        place = ("endpoints", provider.name)
        found = [*provider.keys, *filter(None, [provider.url_variable])]
        present = [f"env {name}" for name in found if _set(name, spot.environ)]
        if place in written.names or provider.name in routed or (unasked and present):
            layer.names[place] = next(iter(present), spot.origin)
            url = (*place, "url")
            if url not in written.values and url not in written.broken:
                _read_provider(provider, layer, attrs.evolve(spot, place=place), report)
    return layer


def _routed(written: Layer) -> set[str]:
    """The endpoints that the models' routes lead to."""
    return {
        route.endpoint
        for place, found in written.values.items()
        if place[0] == "models" and place[-1] == "routes"
        for route in found.value
    }


def unread_variables(layer: Layer, environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Providers that `layer` does not have although a variable of theirs is set, with that."""
    return tuple(
        (provider.name, name)
        for provider in PROVIDERS
        if ("endpoints", provider.name) not in layer.names
        for name in [*filter(None, [provider.url_variable]), *provider.keys]
        if _set(name, environ)
    )


def _set(name: str, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(name, "").strip())


def _read_provider(provider: ProviderPreset, layer: Layer, spot: Spot, report: Report) -> None:
    own_url = bool(provider.url_variable) and _set(provider.url_variable, spot.environ)
    if own_url:
        here = attrs.evolve(spot.below("url"), origin=f"env {provider.url_variable}")
        layer.read(spot.environ[provider.url_variable].strip(), URL, here, report)
    else:
        layer.read(provider.url, URL, spot.below("url"), report)
        if provider.dialect:
            layer.values[spot.below("dialect").place] = Found(provider.dialect, spot.origin)
        for option, value in provider.options:
            layer.values[spot.below(option).place] = Found(value, spot.origin)
    _read_key(provider, layer, spot, report, needed=not own_url)
    for header, name in provider.headers:
        if _set(name, spot.environ):
            here = attrs.evolve(spot.below("headers").below(header), origin=f"env {name}")
            layer.read(spot.environ[name].strip(), HEADER, here, report)


def _read_key(
    provider: ProviderPreset, layer: Layer, spot: Spot, report: Report, *, needed: bool
) -> None:
    name = next((name for name in provider.keys if _set(name, spot.environ)), None)
    here = attrs.evolve(spot.below("key"), origin=f"env {name}")
    if name is not None:
        layer.read(variable(name, spot.environ), KEY, here, report)
    elif needed:
        layer.values[here.place] = Found(
            Absent(f"the environment variable {provider.keys[0]} is not set"), "default"
        )
