"""How the service is, in the form of a draft that monitors know: application/health+json.

draft-inadarei-api-health-check-06. "fail" where mail cannot be taken, "warn" where it can and a primary is not up,
"pass" otherwise: a primary that is down is what this service is for, and answered with 200 all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fallback_mx.published.facts import Facts
from fallback_mx.rules.health import State

MEDIA_TYPE = "application/health+json"


def checkup(ready: Sequence[tuple[str, bool]], facts: Facts | None, version: str) -> dict[str, Any]:
    """`ready` has what must hold for mail to be taken; `facts` is None where nobody may know, or can tell."""
    checks: dict[str, list[dict[str, Any]]] = {
        name: [{"componentType": "system", "status": "pass" if ok else "fail"}] for name, ok in ready
    }
    primaries = [] if facts is None else facts.primaries
    for primary in primaries:
        checks[f"{primary.title}:state"] = [
            {
                "componentType": "component",
                "status": "pass" if primary.state is State.UP else "warn",
                "observedValue": primary.state.value,
            }
        ]
        checks[f"{primary.title}:waiting"] = [
            {
                "componentType": "component",
                "status": "pass" if not primary.waiting else "warn",
                "observedValue": primary.waiting,
                "observedUnit": "messages",
            }
        ]
    is_ready = all(ok for _, ok in ready)
    all_up = all(primary.state is State.UP for primary in primaries)
    status = "fail" if not is_ready else "pass" if all_up else "warn"
    return {"status": status, "version": version.partition(".")[0], "releaseId": version, "checks": checks}
