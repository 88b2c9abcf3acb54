"""A request's body before it leaves: held against the guard, and perhaps changed.

What is looked for, and how it is told, is `guard`'s to say.
"""

import asyncio

from proxy import errors
from proxy.config import schema
from proxy.gateway.call import Call
from proxy.guard.inspection import Guard, Inspected
from proxy.observe.counting import UpstreamMetrics

_AT_ONCE = 16 << 10
"""Bytes that take no longer to look into than a thread to begin."""


class Screen:
    """The guard of one route, and what becomes of bodies that it cannot read."""

    def __init__(self, settings: schema.Guard) -> None:
        self.limit = settings.inspect_limit
        self._pii = settings.pii
        self._refuses = settings.oversize == "refuse"
        self._guard = Guard(
            pii=None if settings.pii == "none" else settings.pii,
            patterns=settings.patterns,
            fields=settings.fields,
            phone_regions=settings.phone_regions,
            max_prompt_chars=settings.max_prompt_chars,
        )

    def can_read(self, call: Call, length: int | None) -> bool:
        """Tell whether there is any sense in waiting for a body of *length* bytes."""
        compressed = b"content-encoding" in call.fields
        return not compressed and (length is None or length <= self.limit)

    async def passed(
        self, call: Call, data: bytes | None, metrics: UpstreamMetrics, *, kept: bool
    ) -> bytes | None:
        """Give the body to send in place of *data*; None: it goes as it came.

        Without *data* the body was not to be read; one that was not *kept* cannot be sent either.
        Raises ValidationErrors, PiiDetectedError, or PayloadTooLargeError where it may not go.
        """
        if data is None or len(data) > self.limit or b"content-encoding" in call.fields:
            if self._refuses or not kept:
                raise errors.PayloadTooLargeError(
                    f"a body beyond {self.limit} bytes, or a compressed one, cannot be looked into",
                    field="body",
                )
            metrics.unguarded()
            return None
        if not data:
            return None
        try:
            inspected = await self._inspect(call, data)
        except errors.PiiDetectedError as found:
            metrics.guarded(found.details["counts"], "block")
            raise
        metrics.guarded(inspected.found, "redact" if self._pii == "redact" else "report")
        return None if inspected.body is data else inspected.body

    async def _inspect(self, call: Call, data: bytes) -> Inspected:
        if len(data) <= _AT_ONCE:
            return self._guard.inspect(data)
        began = call.stopwatch()
        try:
            return await asyncio.to_thread(self._guard.inspect, data)
        finally:
            call.elsewhere += call.stopwatch() - began
