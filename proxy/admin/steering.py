"""What an operator wants of a circuit: read strictly, done at once, logged with who and why.

Rule 1: nothing is done for no reason, and an order that would have no effect is refused.
Rule 2: nothing here knows HTTP, or whether he may: `guard` has been asked.
"""

from dataclasses import dataclass
from typing import Any, Final, get_args

from proxy import errors
from proxy.config import units
from proxy.observe import logs
from proxy.observe.history import Acted, Action, History
from proxy.observe.scrub import scrub
from proxy.policy.breaker import Breaker, Mode

ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
FORCING: Final = frozenset({"force-open", "force-closed"})
LASTING: Final = FORCING | {"mode"}
"""Actions that hold until something else is said, or for as long as `ttl` says."""

REASON_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, why, and for how many seconds; *ttl* None is until something else is said."""

    action: Action
    reason: str
    ttl: float | None = None
    mode: Mode | None = None


def read(action: Action, body: object) -> Order:
    """Read an order from its JSON; ValidationErrors has all that is wrong with it."""
    if not isinstance(body, dict):
        raise errors.ValidationError("the body must be a JSON object, at least with a reason")
    keys = {"reason"} | ({"ttl"} if action in LASTING else set())
    keys |= {"mode"} if action == "mode" else set()
    wrong = dict.fromkeys(body.keys() - keys, "is not a key here")
    reason, mode, ttl = body.get("reason"), body.get("mode"), None
    if not isinstance(reason, str) or not reason.strip():
        wrong["reason"] = "must say why, for those who ask later"
    elif len(reason) > REASON_LIMIT:
        wrong["reason"] = f"is longer than {REASON_LIMIT} characters"
    if "mode" in keys and mode not in MODES:
        wrong["mode"] = f"must be one of {', '.join(MODES)}"
    if "ttl" in keys and body.get("ttl") is not None:
        try:
            ttl = units.limit(body["ttl"])
        except units.Unreadable as unreadable:
            wrong["ttl"] = str(unreadable)
    if wrong:
        raise errors.ValidationErrors(
            [{"field": str(key)[:REASON_LIMIT], "message": text} for key, text in wrong.items()]
        )
    return Order(action, scrub(str(reason)), ttl, mode if action == "mode" else None)


def obey(order: Order, upstream: str, breaker: Breaker, history: History, by: str) -> Acted:
    """Do what is ordered, and note that *by*, an address, has ordered it.

    Raises ValidationError (409) where it would have no effect.
    """
    match order.action:
        case "force-open":
            if breaker.mode != "enforce":
                raise errors.ValidationError(
                    f"the breaker of {upstream} rejects nothing in mode {breaker.mode}:"
                    " set its mode to enforce first",
                    status=409,
                )
            breaker.force_open(order.ttl)
        case "force-closed":
            breaker.force_closed(order.ttl)
        case "release":
            breaker.release()
        case "reset":
            breaker.reset()
        case "mode":
            assert order.mode is not None
            breaker.set_mode(order.mode, order.ttl)
    facts: dict[str, Any] = {"reason": order.reason, "mode": order.mode}
    if order.ttl is not None:
        facts["ttl_ms"] = round(order.ttl * 1000)
    logs.get(upstream=upstream).warning("admin.action", action=order.action, peer=by, **facts)
    return history.acted(
        upstream,
        order.action,
        by=by,
        why=order.reason,
        ttl=order.ttl,
        mode=order.mode,
        hold=breaker.held if order.action in FORCING else None,
    )
