"""What holds of a request that does not say otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamnursery.values.request import ChatRequest

FIELDS = ("temperature", "max_tokens", "top_p", "reasoning_effort")


@attrs.frozen
class RequestDefaults:
    """Fields of `ChatRequest`; None says nothing."""

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    reasoning_effort: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)

    def over(self, lower: RequestDefaults) -> RequestDefaults:
        """These, and what they do not say from `lower`; of `extra` each key for itself."""
        mine = {name: value for name in FIELDS if (value := getattr(self, name)) is not None}
        return attrs.evolve(lower, **mine, extra={**lower.extra, **self.extra})

    def filled(self, request: ChatRequest) -> ChatRequest:
        """`request` with these where it says nothing. A key of `extra` gives way to the field of
        the same name too."""
        fields: dict[str, Any] = {
            name: value
            for name in FIELDS
            if (value := getattr(self, name)) is not None and getattr(request, name) is None
        }
        extra = {k: v for k, v in self.extra.items() if getattr(request, k, None) is None}
        if extra.keys() - request.extra.keys():
            fields["extra"] = {**extra, **request.extra}
        return attrs.evolve(request, **fields) if fields else request


NO_DEFAULTS = RequestDefaults()
