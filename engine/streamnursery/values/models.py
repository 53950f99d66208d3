"""What is known of models that the configuration only names."""

import attrs


@attrs.frozen
class Known:
    """Figures for a choice among models, until they are measured or configured."""

    quality: float
    """From 0 to 10."""
    context: int
    """Tokens of input and output together."""
    ttft_p50: float
    ttft_p95: float
    """Seconds to the first token."""
    tools: bool = True


KNOWN: dict[str, Known] = {
    "gpt-4.1": Known(8, 1_047_576, 0.85, 1.2),
    "claude-sonnet-4.5": Known(9, 200_000, 0.92, 1.35),
    "gemini-2.5-flash": Known(7, 1_048_576, 0.18, 0.28),
    "deepseek-v3.2": Known(6, 128_000, 0.22, 0.35),
}
