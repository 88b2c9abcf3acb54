"""Who of a pool is asked first, and who next: the order in which its members are tried.

Rule 1: everybody who is given is in the order. Who cannot take the call at all, for a capability it
lacks or a circuit that is open, is left out before.
Rule 2: nothing here counts or remembers; what is in flight and how long a member has been back
are told by who asks.

The measure of least_in_flight and the ramp (slow start) are Envoy's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from proxy.config import schema

T = TypeVar("T")

LEAST_SHARE = 0.1
"""What a member gets that is back this instant: with nothing, it would never show that it is."""


@dataclass(frozen=True, slots=True)
class Member(Generic[T]):
    """One that could take the call: *recovered* seconds ago, or None if it was never away."""

    target: T
    weight: float
    in_flight: int
    recovered: float | None


def order(
    members: Sequence[Member[T]], strategy: schema.Strategy, ramp: float, random: Random
) -> list[T]:
    """Give the targets of all *members*, the one to be asked first at the front.

    What *random* decides is drawn anew for each call. One member alone draws nothing.
    """
    if len(members) > 1:
        # Sorting keeps the order of the list where ranks are the same.
        members = sorted(members, key=lambda member: _rank(member, strategy, ramp, random))
    return [member.target for member in members]


def share(recovered: float | None, ramp: float) -> float:
    """Give how much of its part a member gets, that has been back for *recovered* seconds."""
    if recovered is None or recovered >= ramp:
        return 1.0
    return max(LEAST_SHARE, recovered / ramp)


def _rank(
    member: Member[T], strategy: schema.Strategy, ramp: float, random: Random
) -> tuple[float, float]:
    part = share(member.recovered, ramp)
    if strategy == "priority":
        # Behind all the others: a turn it is not given yet goes to whom it would go without it.
        return random.random() >= part, 0.0
    if strategy == "weighted":
        # Efraimidis and Spirakis (2006): the first of several exponential clocks rings in
        # proportion to its rate, and so does the first of those that are left.
        return random.expovariate(1.0) / member.weight / part, 0.0
    return (member.in_flight + 1) / member.weight / part, random.random()
