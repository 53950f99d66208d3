"""How a model is in a running engine: its slots, its queue, its routes."""

from collections.abc import Mapping
from typing import Any


def health(told: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the snapshot `told` has of `model`; None: the engine has not used it."""
    name = f"model {model['name']!r}"
    limit = next((limit for limit in told["limits"] if limit["name"] == name), None)
    known = told.get("routes", {})
    routes = {route: known[route] for route in model["routes"] if route in known}
    if limit is None and not routes:
        return None
    return {
        "active": limit["taken"] if limit else 0,
        "max_streams": limit["max_streams"] if limit else None,
        "queued": limit["queued"] if limit else 0,
        "waits_for": limit["waits_for"] if limit else None,
        "routes": routes,
    }


def health_text(live: Mapping[str, Any] | None) -> str:
    """In a few words."""
    if live is None:
        return "not used"
    parts = [f"{live['active']} of {live['max_streams']} running"]
    if live["queued"]:
        parts.append(f"{live['queued']} queued")
    for route, state in live["routes"].items():
        if state["circuit"] != "closed":
            parts.append(f"{route}: circuit {state['circuit']}")
        elif state["failures"]:
            parts.append(f"{route}: {state['failures']} of {state['calls']} failed")
    return ", ".join(parts)
