"""How fast a simulated model is. Arithmetic only: dice are arguments.

Times to the first token are lognormal, fitted to a mean and a 95th percentile; tokens come
evenly after it. The file form of `--profile FILE` holds seconds:

    {"gpt-4.1": {"ttft_mean": 0.85, "ttft_p95": 1.2, "tokens_per_second": 45}, "mine": {}}
"""

from collections.abc import Mapping
from math import exp, inf, log, sqrt
from statistics import NormalDist
from types import MappingProxyType

import attrs

from streamnursery.simulator import field_checks
from streamnursery.simulator.field_checks import of
from streamnursery.simulator.grammar import ScriptReader

_NORMAL = NormalDist()
_Z95 = _NORMAL.inv_cdf(0.95)
_MAX_RATIO = exp(_Z95**2 / 2)
"""No lognormal's 95th percentile is further above its mean (3.87 times)."""


def _fit(mean: float, p95: float) -> tuple[float, float]:
    """Mu and sigma of the lognormal with this mean and 95th percentile.

    mean = exp(mu + sigma^2 / 2) and p95 = exp(mu + z sigma) give a quadratic in sigma; its
    smaller root is the narrower distribution.
    """
    sigma = _Z95 - sqrt(max(0.0, _Z95**2 - 2 * log(p95 / mean)))
    return log(mean) - sigma**2 / 2, sigma


@attrs.frozen
class Profile:
    """The pace of one model and the length of its answers."""

    ttft_mean: float = of(field_checks.seconds, 0.0)
    """Seconds from the request to its first token, on average; 0 for no delay."""
    ttft_p95: float = of(field_checks.seconds, 0.0)
    tokens_per_second: float | None = of(field_checks.or_none(field_checks.rate), None)
    """None: all at once."""
    output_tokens: tuple[int, int] = of(field_checks.span, (32, 96), many=True)
    """Shortest and longest answer, in tokens of text."""
    knee: int | None = of(field_checks.or_none(field_checks.positive), None)
    """Requests at once from which on the first token takes longer in proportion; None: never."""
    prefix_cache: int = of(field_checks.count, 0)
    """Tokens of each account's prompts that the server keeps once it has computed them, in blocks
    of 16; the least recently used go first. What a prompt's beginning finds there is reported as
    cached, and takes its share off the time to the first token. 0: it keeps nothing."""

    def __attrs_post_init__(self) -> None:
        mean, p95 = self.ttft_mean, self.ttft_p95
        if mean != p95 and not 0 < mean < p95 <= mean * _MAX_RATIO:
            msg = (
                f"Profile.ttft_p95 must lie above the mean of {mean:g} s and at most "
                f"{_MAX_RATIO:.2f} times above it, not at {p95:g} s"
            )
            raise ValueError(msg)

    def pressure(self, at_once: int) -> float:
        """How many times longer the first token takes with so many requests at once."""
        return 1.0 if self.knee is None else max(1.0, at_once / self.knee)

    def first_token_after(self, dice: float) -> float:
        """Seconds to the first token without pressure; `dice` is uniform in [0, 1)."""
        if self.ttft_mean == self.ttft_p95:
            return self.ttft_mean
        mu, sigma = _fit(self.ttft_mean, self.ttft_p95)
        return exp(mu + sigma * _NORMAL.inv_cdf(max(dice, 1e-12)))

    @property
    def gap(self) -> float:
        """Seconds between tokens."""
        return 1 / self.tokens_per_second if self.tokens_per_second is not None else 0.0

    def faster(self, speed: float) -> "Profile":
        """The same model `speed` times as fast."""
        if not 0 < speed < inf:
            msg = f"a speed is a number > 0, not {speed!r}"
            raise ValueError(msg)
        rate = self.tokens_per_second
        return attrs.evolve(
            self,
            ttft_mean=self.ttft_mean / speed,
            ttft_p95=self.ttft_p95 / speed,
            tokens_per_second=None if rate is None else rate * speed,
        )


PROFILES: Mapping[str, Profile] = MappingProxyType({
    "gpt-4.1": Profile(0.85, 1.2, 45),
    "claude-sonnet-4.5": Profile(0.92, 1.35, 45),
    "gemini-2.5-flash": Profile(0.18, 0.28, 45),
    "deepseek-v3.2": Profile(0.22, 0.35, 45),
    "fast": Profile(),
})
"""The models that every simulated provider knows; `sim/` may stand before their names."""


def parse_profiles(text: str | bytes) -> dict[str, Profile]:
    """Read profiles by model from JSON; a `sim/` before a name is left out.

    Raises:
        ScriptError: listing every mistake.
    """
    reader = ScriptReader()
    value = reader.json(text)
    if not isinstance(value, dict):
        reader.fail('profiles are an object like {"my-model": {"ttft_mean": 0.5}}')
    found = {}
    for model, given in value.items():
        if isinstance(given, dict):
            profile = reader.build(Profile, given, model)
            found[model.removeprefix("sim/")] = profile or Profile()
        else:
            reader.problems.append(f"{model}: must be an object")
    return reader.result(found)
