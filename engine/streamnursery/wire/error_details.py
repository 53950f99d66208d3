"""The most exact words of an error, which some providers have among its details."""

from collections.abc import Iterator, Mapping


def detailed_words(details: object) -> list[str]:
    """Anthropic's `error_code`; of Google's list the reasons of each `ErrorInfo`, and that a quota
    of the day is used up, which no wait of this request cures."""
    if isinstance(details, Mapping):
        code = details.get("error_code")
        return [code] if isinstance(code, str) else []
    return list(_google(details)) if isinstance(details, list) else []


def _google(details: list[object]) -> Iterator[str]:
    for detail in details:
        if not isinstance(detail, Mapping):
            continue
        kind = str(detail.get("@type")).rpartition(".")[2]
        if kind == "ErrorInfo" and isinstance(detail.get("reason"), str):
            yield str(detail["reason"])
        violations = detail.get("violations") if kind == "QuotaFailure" else None
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, Mapping) and "PerDay" in str(violation.get("quotaId")):
                yield "quota_exhausted"
