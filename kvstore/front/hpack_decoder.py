"""Header decompression (HPACK, RFC 7541), made for many small blocks.

The static table and the Huffman code come from the `hpack` package. The decoder is our own because a client that sends
deadlines changes its table with every request (`grpc-timeout` differs each time): no block ever repeats, and decoding
one takes the package about 80 µs against 4 µs here.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from itertools import chain

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

__all__ = ["ENTRY_OVERHEAD_BYTES", "TABLE_BYTES_MAX", "Field", "HPACKDecoder", "HPACKError", "HeaderListTooLarge"]

Field = tuple[bytes, bytes]

TABLE_BYTES_MAX = 4_096  # what we advertise by saying nothing (RFC 9113 section 6.5.2)
ENTRY_OVERHEAD_BYTES = 32  # RFC 7541 section 4.1

_STATIC: tuple[Field, ...] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_STATIC_LENGTH = len(_STATIC)
_FIRST_DYNAMIC = 0x80 + _STATIC_LENGTH  # first byte of the newest table entry's short form
_INTEGER_BYTES_MAX = 5  # more than 2**35: nothing that long is meant


class HPACKError(Exception):
    """The block does not decode; the shared table is lost, and the connection with it."""


class HeaderListTooLarge(HPACKError):
    """The decoded fields are over the limit we advertised."""


class HPACKDecoder:
    """One direction of one connection.

    `table_version` changes whenever the dynamic table does: two equal blocks mean the same fields exactly while it
    stays the same.
    """

    def __init__(self, list_bytes_max: int) -> None:
        self.table_version = 0
        self._list_bytes_max = list_bytes_max
        self._entries: deque[Field] = deque()  # newest first
        self._entries_bytes = 0
        self._table_bytes_max = TABLE_BYTES_MAX

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a block, in order. Raises `HPACKError`."""
        try:
            return self._decode(block)
        except IndexError:
            raise HPACKError("truncated header block or index out of the table") from None
        except HPACKDecodingError as error:
            raise HPACKError(str(error)) from None

    def _decode(self, block: bytes) -> list[Field]:
        fields: list[Field] = []
        entries = self._entries
        position = 0
        end = len(block)
        while position < end:
            byte = block[position]
            position += 1
            if byte >= 0x80:
                if _FIRST_DYNAMIC <= byte < 0xFF:
                    field = entries[byte - _FIRST_DYNAMIC]
                elif 0x80 < byte < _FIRST_DYNAMIC:
                    field = _STATIC[byte - 0x80]
                else:
                    index, position = _integer(block, position, 0x7F) if byte == 0xFF else (0, position)
                    field = self._at(index)
            elif byte & 0x40:
                field, position = self._literal(block, position, byte & 0x3F, 0x3F)
                self._insert(field)
            elif byte & 0x20:
                if fields:
                    raise HPACKError("table size update after a field")
                position = self._resize(block, position, byte & 0x1F)
                continue
            else:
                field, position = self._literal(block, position, byte & 0x0F, 0x0F)
            fields.append(field)
        # Looking only now is safe: fields out of the table are references, and the block itself was bounded. A few
        # fields cannot be too large, so there is no need to look (Huffman coding at best halves a string).
        if len(fields) * (TABLE_BYTES_MAX + ENTRY_OVERHEAD_BYTES) + 2 * end > self._list_bytes_max:
            size = sum(map(len, chain.from_iterable(fields))) + len(fields) * ENTRY_OVERHEAD_BYTES
            if size > self._list_bytes_max:
                raise HeaderListTooLarge(f"header list larger than {self._list_bytes_max} bytes")
        return fields

    def _at(self, index: int) -> Field:
        if index >= _STATIC_LENGTH:
            return self._entries[index - _STATIC_LENGTH]
        if index == 0:
            raise HPACKError("index 0")
        return _STATIC[index]

    def _literal(self, block: bytes, position: int, index: int, mask: int) -> tuple[Field, int]:
        if index == mask:
            index, position = _integer(block, position, mask)
        if index:
            name = self._at(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _insert(self, field: Field) -> None:
        self.table_version += 1
        self._entries.appendleft(field)
        self._entries_bytes += len(field[0]) + len(field[1]) + ENTRY_OVERHEAD_BYTES
        self._evict()

    def _resize(self, block: bytes, position: int, size: int) -> int:
        if size == 0x1F:
            size, position = _integer(block, position, 0x1F)
        if size > TABLE_BYTES_MAX:
            raise HPACKError("table size update above what was agreed")
        self.table_version += 1
        self._table_bytes_max = size
        self._evict()
        return position

    def _evict(self) -> None:
        while self._entries_bytes > self._table_bytes_max:
            name, value = self._entries.pop()
            self._entries_bytes -= len(name) + len(value) + ENTRY_OVERHEAD_BYTES


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    """The rest of an integer whose prefix was full (RFC 7541 section 5.1)."""
    value = mask
    for shift in range(0, 7 * _INTEGER_BYTES_MAX, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
    raise HPACKError("integer too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    byte = block[position]
    position += 1
    length = byte & 0x7F
    if length == 0x7F:
        length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HPACKError("string longer than its block")
    data = block[position:end]
    return (_huffman(data) if byte & 0x80 else data), end


@lru_cache(maxsize=1024)
def _huffman(data: bytes) -> bytes:
    return decode_huffman(data)
