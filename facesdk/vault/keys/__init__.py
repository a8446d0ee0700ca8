"""Who can open a template: the providers of keys, one module each, and what they share."""

from facesdk.lazy import attributes

__getattr__, __dir__ = attributes(__name__, dict.fromkeys(("KeyKind", "KeyProvider", "random_secret"), "provider"))
