"""What the demo does, decided before it starts: models, limits, speed, and what goes wrong."""

import argparse
import json

from streamnursery.cli.exits import CliError
from streamnursery.cli.parser import PROGRAM, suggestion
from streamnursery.cli.reload_signal import laid_over

LIMITS = {
    "gpt-4.1": 5,
    "claude-sonnet-4.5": 3,
    "gemini-2.5-flash": 8,
    "deepseek-v3.2": 10,
}
"""The models, and how many streams of each run at once."""
_BIG_LIMITS = {
    "gpt-4.1": 300,
    "claude-sonnet-4.5": 250,
    "gemini-2.5-flash": 350,
    "deepseek-v3.2": 400,
}
_BIG_PACE = {"tokens_per_second": 12, "output_tokens": [24, 40]}
"""Slow and short answers: a machine of two cores has to carry a thousand of them, and the
provider too."""
_TTFT = {
    "gpt-4.1": (0.85, 1.2),
    "claude-sonnet-4.5": (0.92, 1.35),
    "gemini-2.5-flash": (0.18, 0.28),
    "deepseek-v3.2": (0.22, 0.35),
}
FALLBACK = "deepseek-v3.2"
"""Asked in the place of the others in the chaos."""

_CHAOS = (
    ({"every": 19}, {"status": {"code": 429, "retry_after": 0.25, "error": "rate_limit_exceeded"}}),
    ({"probability": 0.05}, {"status": {"code": 503}}),
    ({"probability": 0.05}, {"cut": 0}),
    ({"probability": 0.03}, {"reset": 0}),
    ({"probability": 0.03}, {"stall": 0}),
    ({"model": "gpt-4.1", "since": 2, "until": 5}, {"status": {"code": 500}}),
)
CHAOS_IN_WORDS = (
    "every 19th request meets a 429, 5 % a 503, 5 % end and 3 % break off before the first token, "
    "3 % fall silent, and gpt-4.1 is down from second 2 to 5"
)


class DemoPlan:
    """The demo that a command line asks for."""

    def __init__(
        self,
        *,
        streams: int,
        max_streams: int,
        limits: dict[str, int],
        speed: float,
        seed: int,
        chaos: bool,
        big: bool,
        config_file: str | None = None,
    ) -> None:
        self.streams = streams
        self.max_streams = max_streams
        self.limits = limits
        self.speed = speed
        """Times as fast as the models that the simulator imitates."""
        self.seed = seed
        self.chaos = chaos
        self.big = big
        self.config_file = config_file
        """A TOML file whose settings are laid over the demo's own."""

    @classmethod
    def of(cls, args: argparse.Namespace) -> "DemoPlan":
        """Raises `CliError` for a limit of a model that the demo does not have."""
        limits = dict(_BIG_LIMITS if args.big else LIMITS)
        for model, limit in args.limit:
            if model not in limits:
                hint = suggestion(model, limits) or f"there is {', '.join(limits)}"
                msg = f"--limit: the demo has no model {model}"
                raise CliError(msg, hint, f"{PROGRAM} demo")
            limits[model] = limit
        return cls(
            streams=args.streams or (2000 if args.big else 100),
            max_streams=args.max_streams or (1000 if args.big else 10),
            limits=limits,
            speed=args.speed or (1.0 if args.big else 3.0 if args.chaos else 2.0),
            seed=args.seed,
            chaos=args.chaos,
            big=args.big,
            config_file=args.config,
        )

    @property
    def pace(self) -> str:
        """How the simulator differs from the models it imitates; empty when it does not."""
        speed = "" if self.speed == 1 else f"simulator at {self.speed:g}x speed"
        short = "answers of 24 to 40 tokens at 12 tokens/s each" if self.big else ""
        return ", ".join(filter(None, [speed, short]))

    @property
    def profiles(self) -> str:
        """The simulator's models, as JSON; empty for its own."""
        if not self.big:
            return ""
        return json.dumps({
            model: {"ttft_mean": mean, "ttft_p95": p95, **_BIG_PACE}
            for model, (mean, p95) in _TTFT.items()
        })

    @property
    def faults(self) -> str:
        """The simulator's plan, as JSON; empty when nothing goes wrong."""
        if not self.chaos:
            return ""
        return json.dumps({"rules": [{"when": w, "script": [fault]} for w, fault in _CHAOS]})

    def config(self, url: str) -> dict[str, object]:
        """The engine's configuration, as a file would hold it.

        Raises:
            CliError: the file over it cannot be read.
        """
        models: dict[str, dict[str, object]] = {
            model: {"routes": [{"endpoint": "demo"}], "max_streams": limit}
            for model, limit in self.limits.items()
        }
        defaults: dict[str, object] = {}
        if self.chaos:
            defaults["patience"] = {"first_token": max(0.5, 4 / self.speed)}
            defaults["retries"] = {"attempts": 8, "base": 0.25, "cap": 2}
            for model, settings in models.items():
                if model != FALLBACK:
                    settings["fallback"] = [FALLBACK]
        own: dict[str, object] = {
            "engine": {"max_streams": self.max_streams, "max_queued": max(1, self.streams)},
            "defaults": defaults,
            "endpoints": {"demo": {"url": url}},
            "models": models,
        }
        return own if self.config_file is None else laid_over(own, self.config_file)
