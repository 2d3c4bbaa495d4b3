"""Header decompression, with the hpack package's encoder as oracle."""

from __future__ import annotations

import pytest
from hpack import Encoder, NeverIndexedHeaderTuple
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.front.hpack_decoder import HeaderListTooLarge, HPACKDecoder, HPACKError
from tests.fuzz_examples import examples

names = st.one_of(
    st.sampled_from([b":method", b":path", b"content-type", b"te", b"grpc-timeout", b"user-agent"]),
    st.binary(min_size=1, max_size=40),
)
values = st.one_of(st.sampled_from([b"POST", b"/", b"trailers", b"application/grpc"]), st.binary(max_size=200))
blocks = st.lists(
    st.tuples(st.lists(st.tuples(names, values, st.booleans()), max_size=12), st.booleans()), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=examples(60))
@given(blocks, st.lists(st.integers(0, 4096), max_size=3))
def test_decodes_what_the_package_encodes(blocks: list, sizes: list[int]) -> None:
    """Over a run of blocks with changing tables, Huffman or not, indexed or never to be indexed."""
    encoder, decoder = Encoder(), HPACKDecoder(1 << 20)
    for fields, huffman in blocks:
        if sizes:
            encoder.header_table_size = sizes.pop()
        headers = [NeverIndexedHeaderTuple(n, v) if never else (n, v) for n, v, never in fields]
        assert decoder.decode(encoder.encode(headers, huffman=huffman)) == [(n, v) for n, v, _ in fields]


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("80", "index 0"),
        ("be", "truncated"),  # the newest entry of an empty table
        ("ff80808080808080", "integer too large"),
        ("4003", "string longer"),
        ("40", "truncated"),
        ("3fe21f", "table size update above"),  # 4097
        ("8220", "table size update after a field"),
        ("0081ff0161", "Huffman"),
    ],
)
def test_refuses_what_no_encoder_makes(block: str, reason: str) -> None:
    with pytest.raises(HPACKError, match=f"(?i){reason}"):
        HPACKDecoder(1 << 16).decode(bytes.fromhex(block))


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(block: bytes) -> None:
    decoder = HPACKDecoder(1 << 16)
    try:
        fields = decoder.decode(block)
    except HPACKError:
        return
    assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in fields)


def test_a_small_block_cannot_become_a_large_list() -> None:
    """One entry of the table, referred to again and again (the "HPACK bomb")."""
    decoder = HPACKDecoder(16 * 1024)
    decoder.decode(Encoder().encode([(b"x", b"y" * 4000)], huffman=False))
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(b"\xbe" * 5)
    assert len(decoder.decode(b"\xbe" * 4)) == 4


def test_version_follows_the_table() -> None:
    decoder, encoder = HPACKDecoder(1 << 16), Encoder()
    fields = [(b":method", b"POST"), (b"x-mine", b"1")]
    first, again = encoder.encode(fields), encoder.encode(fields)
    decoder.decode(first)
    version = decoder.table_version
    decoder.decode(again)
    assert decoder.table_version == version
    decoder.decode(encoder.encode([(b"x-mine", b"2")]))
    assert decoder.table_version > version
