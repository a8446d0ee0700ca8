"""What the tests of the providers share: a key to wrap, and the header that a wrap is bound to."""

from __future__ import annotations

import pytest

from facesdk._core import Secret
from facesdk.vault.keys.provider import random_secret

BINDING = b"the first bytes of a header"


@pytest.fixture(scope="module")
def kek() -> Secret:
    return random_secret(32)


def same(a: Secret, b: Secret) -> bool:
    return bytes(memoryview(a)) == bytes(memoryview(b))
