"""Durations, shares and rates as people write them. The schema has checked their form before."""

from __future__ import annotations

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """`5m` -> 300.0."""
    number = text.rstrip("mshd")
    return float(number or 1) * _SECONDS[text[len(number) :]]


def share(text: str) -> float:
    """`20%` -> 0.2."""
    return float(text.removesuffix("%")) / 100


def rate(text: str) -> tuple[int, float]:
    """`100/10s` -> (100, 10.0), `4/s` -> (4, 1.0)."""
    calls, _, span = text.partition("/")
    return int(calls), seconds(span)
