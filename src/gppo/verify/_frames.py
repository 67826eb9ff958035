"""What a pool and its workers send each other: a length (4 bytes, big-endian), then so many bytes of JSON.

JSON and never pickle: nothing that an answer holds is executed on either side.
"""

import json
import socket
import struct
from typing import Any

HEADER_BYTES = 4
MAX_FRAME_BYTES = 1 << 22

_HEADER = struct.Struct(">I")


def send_frame(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; the socket's timeout holds."""
    body = json.dumps(message).encode()  # ASCII: lone surrogates survive as escapes
    connection.sendall(_HEADER.pack(len(body)) + body)


def body_bytes(header: bytes) -> int:
    """How many bytes follow a header. Raises ValueError where it is none."""
    size = int(_HEADER.unpack(header)[0])
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes is longer than {MAX_FRAME_BYTES}")
    return size


def read_body(body: bytes) -> dict[str, Any]:
    """The message in the body of a frame. Raises ValueError where it is none."""
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a frame holds one JSON object")
    return message
