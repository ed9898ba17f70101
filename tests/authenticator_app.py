"""What an authenticator app does, by RFC 6238 and nobody's library."""

from __future__ import annotations

import base64
import hmac
import struct
import time


def code_of(secret: str, steps: int = 0) -> str:
    """The six digits of now, or of some steps of 30 s from now."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    (number,) = struct.unpack_from(">I", digest, digest[-1] & 15)
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06d}"
