"""Which error class a provider's words, its message or its status mean.

Read in this order, the first hit counts:
1. its own code or type, where it says something (`CODES`); that the prompt is too long may
   also stand in the message beside a code that says less (`context_limits`);
2. a phrase of its message (`PHRASES`), because some say it nowhere else;
3. the status (`STATUSES`);
4. a code or type that says little (`VAGUE_CODES`): "invalid_request_error" comes with 400, 401,
   404 and 429 alike.
Quota is looked for before rates everywhere: both come as 429, and only one is cured by waiting.
"""

import re
from collections.abc import Iterable

from streamnursery.values.errors import (
    AuthError,
    ContentError,
    ContextTooLongError,
    ModelError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    ServerError,
)
from streamnursery.wire.context_limits import is_too_long

CODES: dict[type[ProviderError], str] = {
    QuotaError: """
        insufficient_quota insufficient_balance insufficient_credits insufficient_funds
        insufficient_user_quota billing billing_not_active billing_hard_limit_reached
        credit_balance_too_low credits_exhausted payment_required quota_exhausted
        exceeded_current_quota service_quota_exceeded budget_exceeded arrearage
        enforced_spend_limit_reached contract_spend_limit_reached
        linked_organization_spend_limit_reached linked_organization_billing_unavailable
        organization_on_hold
    """,
    ModelError: """
        model_not_found model_not_available model_not_supported model_not_allowed model_not_exist
        model_access_denied model_deprecated model_decommissioned model_terms_required
        model_permission_blocked_org model_permission_blocked_project invalid_model unknown_model
        unsupported_model deployment_not_found resource_not_found not_found
    """,
    AuthError: """
        invalid_api_key incorrect_api_key api_key_invalid missing_api_key no_api_key
        expired_api_key invalid_authentication authentication authentication_failed
        unauthenticated unauthorized account_deactivated invalid_organization
        mismatched_organization mismatched_project unsupported_country_region_territory
        ip_not_authorized
    """,
    RateLimitedError: """
        rate_limit rate_limit_exceeded rate_limit_reached rate_limited too_many_requests
        throttling throttled resource_exhausted requests tokens input_tokens output_tokens
        slow_down concurrency_limit_exceeded ramp_limit_exceeded
    """,
    ContentError: """
        content_filter content_policy_violation content_blocked responsible_ai_policy_violation
        moderation_blocked data_inspection_failed safety
        string_above_max_length request_too_large invalid_prompt invalid_value invalid_type
        invalid_json invalid_image missing_required_parameter unknown_parameter unsupported_value
        prompt_blocked missing_thought_signature
        unsupported_parameter tool_use_failed json_validate_failed unprocessable_entity
    """,
    ContextTooLongError: """
        context_length_exceeded exceed_context_size context_window_exceeded context_limit_exceeded
        model_max_prompt_tokens_exceeded prompt_too_long input_too_long max_context_length_exceeded
        model_context_window_exceeded
    """,
    ServerError: """
        server internal_server internal overloaded engine_overloaded model_overloaded
        server_overloaded over_capacity capacity_exceeded service_unavailable unavailable
        bad_gateway gateway_timeout timeout deadline_exceeded upstream provider conflict
        model_not_ready
    """,
}
"""Written without a closing `_error` or `Exception`, which providers add as they like."""

VAGUE_CODES: dict[type[ProviderError], str] = {
    AuthError: "permission permission_denied access_denied forbidden",
    ContentError: """
        invalid_request bad_request invalid_argument failed_precondition validation out_of_range
    """,
}

PHRASES: tuple[tuple[type[ProviderError], re.Pattern[str]], ...] = (
    (
        QuotaError,
        re.compile(
            r"credit balance|exceeded your current (?:\w+ )?quota|requires more credits"
            r"|(?:out of|no|used all available) credits|key limit exceeded|spending limit"
            r"|insufficient (?:\w+ )?(?:balance|credits?|funds|quota)|call volume quota"
            r"|budget has been exceeded|in arrears|usage limits?\b.{0,40}\bregain",
            re.IGNORECASE,
        ),
    ),
    (
        ModelError,
        re.compile(
            r"model\b.{0,80}\b(?:not found|(?:does )?not exist|decommissioned|been deprecated)"
            r"|(?:not|n't) have access to (?:the |this )?(?:requested )?model",
            re.IGNORECASE,
        ),
    ),
    (
        AuthError,
        re.compile(
            r"api[ _-]key (?:is )?(?:not valid|invalid|expired|not found|missing)"
            r"|(?:invalid|incorrect|expired|missing|no) api[ _-]key"
            r"|(?:location|country|region)\b.{0,20}\bnot supported",
            re.IGNORECASE,
        ),
    ),
    (ContentError, re.compile(r"flagged|moderation|content (?:management )?policy", re.IGNORECASE)),
)
_PHRASE_STATUSES = frozenset({200, 400, 402, 403, 429})
"""Where a phrase is looked for: answers whose status is used for more than one thing."""
_PHRASE_REACH = 300
"""Characters of a message that are looked at: what follows may quote the prompt."""

_TOO_LONG_STATUSES = frozenset({200, 400, 413, 422, 500})

STATUSES: dict[int, type[ProviderError]] = {
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    404: ModelError,
    407: AuthError,
    408: ServerError,
    409: ServerError,
    410: ModelError,
    424: ServerError,
    425: ServerError,
    429: RateLimitedError,
    451: AuthError,
    498: RateLimitedError,
    499: ServerError,
}
"""424 is a model that failed behind its server (TGI, Bedrock), 498 Groq's "flex capacity
exceeded", 451 a region that is not served. Every other 4xx is
the request's own fault, every 5xx (529, overloaded, among them) the server's."""


def _plain(word: str) -> str:
    """`RateLimitError`, `rate-limit-exception` and `rate_limit` are one word."""
    letters = re.sub(r"[^a-z0-9]", "", word.lower())
    return re.sub(r"(?:error|exception)$", "", letters)


def _index(table: dict[type[ProviderError], str]) -> dict[str, tuple[type[ProviderError], str]]:
    return {_plain(word): (kind, word) for kind, words in table.items() for word in words.split()}


_CODES = _index(CODES)
_VAGUE_CODES = _index(VAGUE_CODES)


def classify(
    words: Iterable[str], message: str, status: int
) -> tuple[type[ProviderError], str | None]:
    """The class of an error, and the word of our tables that decided it, if one did.

    `words` are the provider's code, type and status name, most telling first; `status` is
    200 for an error inside a stream that names no other.
    """
    plain = [_plain(word[:64]) for word in words]
    known = [_CODES[word] for word in plain if word in _CODES]
    # The first word is the most telling one, but for money: it may stand in any of them.
    for kind, word in known:
        if kind in (QuotaError, ContextTooLongError):
            return kind, word
    # Most say it under a word or a status that means any bad request, some under "server_error".
    told = known[0][0] if known else None
    unclear = told in (None, ContentError, ServerError) and status in _TOO_LONG_STATUSES
    if unclear and is_too_long(message):
        return ContextTooLongError, None
    if known:
        return known[0]
    if status in _PHRASE_STATUSES:
        for kind, phrase in PHRASES:
            if phrase.search(message[:_PHRASE_REACH]):
                return kind, None
    if status >= 400:
        return by_status(status), None
    vague = [_VAGUE_CODES[word] for word in plain if word in _VAGUE_CODES]
    return vague[0] if vague else (ServerError, None)


def by_status(status: int) -> type[ProviderError]:
    """`status` is 400 or more."""
    return STATUSES.get(status, ContentError if status < 500 else ServerError)
