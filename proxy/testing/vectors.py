"""A small vector database in memory that answers in the form of Qdrant's REST API.

Rule: it answers right or not at all; misbehaving is `script.py`'s.
"""

import math
from typing import Any

from proxy.testing.request import Seen
from proxy.testing.script import Answer, ok, status

Point = dict[str, Any]


class Vectors:
    """Collections by name, each with its points by id."""

    def __init__(self) -> None:
        self._collections: dict[str, dict[Any, Point]] = {}

    def answer(self, seen: Seen) -> Answer | None:
        """Answer what concerns collections; None where something else is asked."""
        words = seen.path.strip("/").split("/")
        if "collections" not in words:
            return None
        try:
            return self._collection(seen, words[words.index("collections") + 1 :])
        except (ValueError, KeyError, TypeError) as error:
            return _fault(400, f"Format error in JSON body: {error!r}")

    def _collection(self, seen: Seen, words: list[str]) -> Answer:
        if not words:
            return _result({"collections": [{"name": name} for name in self._collections]})
        name, *rest = words
        if seen.method == "PUT" and not rest:
            if name in self._collections:
                return _fault(409, f"Collection `{name}` already exists!")
            self._collections[name] = {}
            return _result(True)
        if name not in self._collections:
            return _fault(404, f"Not found: Collection `{name}` doesn't exist!")
        points = self._collections[name]
        match seen.method, rest:
            case "GET", []:
                return _result({"status": "green", "points_count": len(points)})
            case "DELETE", []:
                del self._collections[name]
                return _result(True)
            case _, ["points", *what]:
                return _points(seen, points, what)
        return _fault(404, "Not found")


def _points(seen: Seen, points: dict[Any, Point], what: list[str]) -> Answer:
    match seen.method, what:
        case "PUT", []:
            points.update({point["id"]: point for point in seen.json()["points"]})
            return _result({"operation_id": len(points), "status": "completed"})
        case "POST", []:
            wanted = seen.json()["ids"]
            return _result([points[id_] for id_ in wanted if id_ in points])
        case "POST", ["count"]:
            return _result({"count": len(points)})
        case "POST", ["delete"]:
            for id_ in seen.json()["points"]:
                points.pop(id_, None)
            return _result({"operation_id": len(points), "status": "completed"})
        case "POST", ["search"]:
            return _result(_nearest(points, seen.json()["vector"], seen.json()))
        case "POST", ["query"]:
            return _result({"points": _nearest(points, seen.json()["query"], seen.json())})
    return _fault(404, "Not found")


def _nearest(points: dict[Any, Point], vector: list[float], asked: dict[str, Any]) -> list[Point]:
    scored = [
        {
            "id": point["id"],
            "version": 0,
            "score": _cosine(vector, point["vector"]),
            "payload": point.get("payload") if asked.get("with_payload") else None,
        }
        for point in points.values()
    ]
    scored.sort(key=lambda found: -found["score"])
    return scored[: asked.get("limit", 10)]


def _cosine(left: list[float], right: list[float]) -> float:
    sizes = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / sizes if sizes else 0.0


def _result(result: Any) -> Answer:
    return ok({"result": result, "status": "ok", "time": 0.001})


def _fault(code: int, text: str) -> Answer:
    return status(code, {"status": {"error": text}, "time": 0.001})
