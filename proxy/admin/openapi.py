"""The API described, as OpenAPI 3.1. Nothing here answers anything.

An object has exactly the keys that its schema lists, each of them always: what is not known is
null. Tests hold real answers and the routes there are against this.
"""

from typing import Any, Final, get_args

from proxy import __version__
from proxy.admin.steering import LASTING, MODES, REASON_LIMIT
from proxy.observe.history import Action
from proxy.policy.transitions import Reason, State

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _one_of(*words: str) -> Schema:
    return {"enum": [str(word) for word in words]}


def _about(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Final[Schema] = {"type": "string"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
NUMBER: Final[Schema] = {"type": "number"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
STATE: Final = _one_of(*State)
REASON: Final = _one_of(*Reason)

_WORD: Final = {
    "by": _or_null(_about(TEXT, "the address the order came from")),
    "reason": _or_null(_about(TEXT, "why, in the operator's words")),
    "at": _or_null(TIME),
    "until": _or_null(_about(TIME, "null: until something else is said")),
}
_DOING: Final = {
    "in_flight": COUNT,
    "last_5_minutes": _object(
        served=COUNT,
        failed=COUNT,
        attempts=_about(COUNT, "what these requests took, at whichever upstreams"),
        p50_seconds=_or_null(NUMBER),
        p95_seconds=_or_null(NUMBER),
    ),
    "last_failures": _about(
        _list(_named("Failure")), "the latest of each error code, the newest first"
    ),
}
_MOVE: Final = {
    "at": TIME,
    "upstream": TEXT,
    "from_state": STATE,
    "to_state": STATE,
    "reason": REASON,
    "open_seconds": _or_null(_about(NUMBER, "0 where it did not open; null: until released")),
}
_ACTION: Final = {
    "at": TIME,
    "upstream": TEXT,
    "action": _one_of(*get_args(Action)),
    "mode": _or_null(_one_of(*MODES)),
    "by": TEXT,
    "reason": TEXT,
    "until": _or_null(TIME),
}
_CHANGE: Final = {
    "at": TIME,
    "result": _one_of("reloaded", "rejected"),
    "problems": _list(TEXT),
}
_UPSTREAM: Final = {
    "name": TEXT,
    "kind": TEXT,
    "provider": TEXT,
    "url": TEXT,
    "breaker": _named("Breaker"),
    "retries_left": _about(COUNT, "retries that the budget has now"),
    **_DOING,
}


def _kind(kind: str, **properties: Schema) -> Schema:
    return _object(kind={"const": kind}, **properties)


SCHEMAS: Final[dict[str, Schema]] = {
    "Version": _object(
        version=TEXT,
        python=TEXT,
        started=TIME,
        ready={"type": "boolean"},
        control=_about(
            _one_of("free", "token", "none"),
            "what a change needs: nothing, the token, or another listener",
        ),
    ),
    "Breaker": _object(
        upstream=TEXT,
        state=_about(STATE, "open past its time is half_open"),
        since=_or_null(_about(TIME, "null: it has never been otherwise")),
        reason=_or_null(REASON),
        next_probe=_or_null(_about(TIME, "while it is open: from then on a call may go")),
        failure_ratio=NUMBER,
        held=_or_null(_object(state=STATE, **_WORD)),
        mode=_one_of(*MODES),
        mode_set=_or_null(_about(_object(**_WORD), "null: the mode is the config's")),
    ),
    "Upstream": _object(**_UPSTREAM),
    "Pool": _object(name=TEXT, members=_list(TEXT), **_DOING),
    "Series": _about(
        _object(
            step_seconds=NUMBER,
            served=_list(COUNT),
            failed=_list(COUNT),
            attempts=_list(COUNT),
            failure_ratio=_list(NUMBER),
            p50_seconds=_list(_or_null(NUMBER)),
            p95_seconds=_list(_or_null(NUMBER)),
        ),
        "the last five minutes, the oldest first, up to at most one step ago",
    ),
    "UpstreamWithSeries": _object(**_UPSTREAM, series=_named("Series")),
    "Transition": _object(**_MOVE),
    "Happening": {
        "oneOf": [
            _kind("started", at=TIME),
            _kind("moved", **_MOVE),
            _kind("config", **_CHANGE),
            _kind("action", **_ACTION),
        ]
    },
    "Failure": _object(
        at=TIME,
        upstream=TEXT,
        request_id=TEXT,
        method=TEXT,
        status={"type": "integer"},
        code=TEXT,
        message=TEXT,
        attempts=COUNT,
        duration_seconds=NUMBER,
    ),
    "Problem": {
        "type": "object",
        "description": "the error envelope",
        "properties": {
            "error": TEXT,
            "message": TEXT,
            "details": {"type": "object"},
            "retry_after": COUNT,
        },
        "required": ["error", "message", "details"],
    },
}

READS: Final[dict[str, tuple[str, Schema]]] = {
    "/version": ("What is running", _named("Version")),
    "/upstreams": (
        "Every upstream and pool, and how it is doing",
        _object(upstreams=_list(_named("Upstream")), pools=_list(_named("Pool"))),
    ),
    "/upstreams/{name}": ("One upstream, with its figures", _named("UpstreamWithSeries")),
    "/breakers": ("Every circuit", _object(breakers=_list(_named("Breaker")))),
    "/breakers/{name}": ("One circuit", _named("Breaker")),
    "/config": (
        "The config in force: every value, built in or not, but for secrets",
        _object(config={"type": "object"}),
    ),
    "/transitions": (
        "The last 200 moves of all circuits, the newest first",
        _object(transitions=_list(_named("Transition"))),
    ),
    "/timeline": (
        "Moves, config changes and operators' orders together, the newest first",
        _object(timeline=_list(_named("Happening"))),
    ),
    "/failures": (
        "The last 200 requests that failed, the newest first; not those turned away",
        _object(failures=_list(_named("Failure"))),
    ),
    "/openapi.json": ("This document", {"type": "object"}),
}

ORDERS: Final[dict[Action, str]] = {
    "force-open": "Reject every call, until released or for `ttl`; then probe",
    "force-closed": "Let every call through, until released or for `ttl`",
    "release": "Take back what was forced; an open circuit is probed by the next call",
    "reset": "Begin anew: closed, nothing counted, nothing held",
    "mode": "Let the verdicts be enforced, only observed, or not made, for good or for `ttl`",
}


def document() -> Schema:
    """Give the whole document."""
    paths: dict[str, Schema] = {
        path: {"get": {"summary": summary, "responses": _answers(schema)}}
        for path, (summary, schema) in READS.items()
    }
    paths["/live"] = {
        "get": {
            "summary": "The status page's stream: `state`, `series` and `timeline`, each whole",
            "responses": {"200": {"description": "OK", "content": {"text/event-stream": {}}}},
        }
    }
    for action, summary in ORDERS.items():
        paths[f"/breakers/{{name}}/{action}"] = {"post": _order(action, summary)}
    for path, methods in paths.items():
        if "{name}" in path:
            methods["parameters"] = [
                {"name": "name", "in": "path", "required": True, "schema": TEXT}
            ]
    return {
        "openapi": "3.1.0",
        "info": {"title": "octollm-proxy, admin API", "version": __version__},
        "servers": [{"url": "/api/v1"}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _order(action: Action, summary: str) -> Schema:
    keys: dict[str, Schema] = {"reason": {**TEXT, "minLength": 1, "maxLength": REASON_LIMIT}}
    if action in LASTING:
        keys["ttl"] = _or_null(
            _about({"type": ["string", "number"]}, "`10m`, or a number of seconds")
        )
    if action == "mode":
        keys["mode"] = _one_of(*MODES)
    body = {**_object(**keys), "required": [key for key in keys if key != "ttl"]}
    return {
        "summary": summary,
        # The token is needed only where others than this machine reach the listener.
        "security": [{}, {"token": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers(_named("Breaker")),
    }


def _answers(schema: Schema) -> Schema:
    return {
        "200": {"description": "OK", "content": {"application/json": {"schema": schema}}},
        "default": {
            "description": "The error envelope",
            "content": {"application/json": {"schema": _named("Problem")}},
        },
    }
