"""Finds and edits the boxes of an mp4 file as bytes, so that tests can make files which lie."""

import struct
from collections.abc import Iterator

# Boxes whose children start later than right behind the 8 bytes of the header.
_CHILDREN_AT = {b"stsd": 16, b"dref": 16, b"avc1": 86, b"encv": 86, b"meta": 12}


def box(kind: bytes, *payload: bytes) -> bytes:
    """``box(b"free", b"abc")`` -> 11 bytes."""
    body = b"".join(payload)
    return struct.pack(">I", 8 + len(body)) + kind + body


def find_boxes(data: bytes, path: str) -> list[int]:
    """Offsets of a box and all that hold it, outermost first: ``find_boxes(data, "moov/trak/tkhd")``."""
    offsets, start, stop = [], 0, len(data)
    for kind in path.encode().split(b"/"):
        offset, size = next((at, size) for at, size, found in _walk(data, start, stop) if found == kind)
        offsets.append(offset)
        start, stop = offset + _CHILDREN_AT.get(kind, 8), offset + size
    return offsets


def _walk(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, bytes]]:
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size == 1:
            size = struct.unpack_from(">Q", data, start + 8)[0]
        yield start, size, kind
        start += max(size, 8)


def payload_of(data: bytes, path: str) -> bytes:
    """What a box holds, without its header."""
    offset = find_boxes(data, path)[-1]
    return data[offset + 8 : offset + struct.unpack_from(">I", data, offset)[0]]


def put_u32(data: bytes, path: str, offset: int, value: int) -> bytes:
    """Overwrite a number; ``offset`` counts from behind the box's header."""
    start = find_boxes(data, path)[-1] + 8 + offset
    return data[:start] + struct.pack(">I", value) + data[start + 4 :]


def rename_box(data: bytes, path: str, kind: bytes) -> bytes:
    """Give a box another type."""
    start = find_boxes(data, path)[-1] + 4
    return data[:start] + kind + data[start + 4 :]


def replace_payload(data: bytes, path: str, payload: bytes) -> bytes:
    """Give a box other content; the sizes around it follow. Only where nothing stored behind it is addressed."""
    offsets = find_boxes(data, path)
    stop = offsets[-1] + struct.unpack_from(">I", data, offsets[-1])[0]
    grown = bytearray(data[: offsets[-1] + 8] + payload + data[stop:])
    change = len(grown) - len(data)
    for offset in offsets:
        struct.pack_into(">I", grown, offset, struct.unpack_from(">I", data, offset)[0] + change)
    return bytes(grown)


def with_sps_size(data: bytes, avcc: str, *, width: int, height: int) -> bytes:
    """Let the sequence parameters of an H.264 track (baseline or main profile) announce another picture size."""
    payload = payload_of(data, avcc)
    length = struct.unpack_from(">H", payload, 6)[0]
    sps = _rewrite_sps(payload[8 : 8 + length], width_mbs=width // 16, height_mbs=height // 16)
    return replace_payload(data, avcc, payload[:6] + struct.pack(">H", len(sps)) + sps + payload[8 + length :])


def _rewrite_sps(sps: bytes, *, width_mbs: int, height_mbs: int) -> bytes:
    bits = "".join(f"{byte:08b}" for byte in sps[4:].replace(b"\0\0\3", b"\0\0"))
    at = 0
    for _ in range(3):  # sps id, frame number bits, kind of picture order
        value, at = _read_golomb(bits, at)
    for _ in range(2 if value == 0 else 1):  # picture order bits; reference frames
        _, at = _read_golomb(bits, at)
    at += 1
    _, stop = _read_golomb(bits, at)
    _, stop = _read_golomb(bits, stop)
    bits = bits[:at] + _golomb(width_mbs - 1) + _golomb(height_mbs - 1) + bits[stop:].rstrip("0")
    bits += "0" * (-len(bits) % 8)
    return sps[:4] + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\0\0", b"\0\0\3")


def _read_golomb(bits: str, at: int) -> tuple[int, int]:
    zeros = bits.index("1", at) - at
    stop = at + 2 * zeros + 1
    return int(bits[at + zeros : stop], 2) - 1, stop


def _golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits
