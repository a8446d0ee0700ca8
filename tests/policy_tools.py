"""A policy by the names of its fields, whichever part of it they are in."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from facesdk import Policy
from facesdk.capture.quality import QualityLimits

_QUALITY = {field.name for field in fields(QualityLimits)}


def with_fields(policy: Policy, **changes: Any) -> Policy:
    """The policy with these fields changed, quality limits among them."""
    quality = {name: value for name, value in changes.items() if name in _QUALITY}
    rest = {name: value for name, value in changes.items() if name not in _QUALITY}
    return replace(policy, quality=replace(policy.quality, **quality), **rest)


def field_of(policy: Policy, name: str) -> Any:
    """The value of a field, or of a quality limit."""
    return getattr(policy.quality if name in _QUALITY else policy, name)
