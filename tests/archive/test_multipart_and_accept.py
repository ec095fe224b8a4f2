"""The multipart reader in pieces of any size, and what Accept headers mean."""

import pytest
from hypothesis import given, strategies

from readingroom.archive.accept import covers, parse_accept, wants_json
from readingroom.archive.multipart import End, Parser, Piece, Start, Writer, boundary_of
from readingroom.core.errors import BadInput


def parts(body: bytes, boundary: bytes, sizes: list[int]) -> tuple[list[tuple[str, bytes]], bool]:
    """Feed ``body`` in pieces of the sizes given, again and again."""
    parser, found, current = Parser(boundary), [], [b"", ""]
    pos, turn = 0, 0
    while pos < len(body):
        size = sizes[turn % len(sizes)]
        for event in parser.feed(body[pos : pos + size]):
            if isinstance(event, Start):
                current = [event.media_type, b""]
            elif isinstance(event, Piece):
                current[1] += event.data  # type: ignore[operator]
            elif isinstance(event, End):
                found.append((str(current[0]), bytes(current[1])))  # type: ignore[arg-type]
        pos, turn = pos + size, turn + 1
    return found, parser.complete


@given(
    bodies=strategies.lists(strategies.binary(max_size=200), min_size=1, max_size=5),
    sizes=strategies.lists(strategies.integers(1, 90), min_size=1, max_size=4),
    noise=strategies.sampled_from([b"", b"\r\n", b"preamble\r\n"]),
)
def test_what_is_written_is_read_in_pieces_of_any_size(bodies: list[bytes], sizes: list[int], noise: bytes) -> None:
    writer = Writer("application/dicom")
    assert boundary_of(writer.content_type) == writer.boundary.encode()
    text = noise
    for n, body in enumerate(bodies):
        text += writer.head("application/dicom", len(body), first=n == 0) + body
    text += writer.tail()
    assert parts(text, writer.boundary.encode(), sizes) == ([("application/dicom", body) for body in bodies], True)


@given(strategies.binary(max_size=300), strategies.lists(strategies.integers(1, 50), min_size=1))
def test_any_body_is_read_or_refused(body: bytes, sizes: list[int]) -> None:
    parts(b"--b\r\n" + body, b"b", sizes)


def test_a_body_that_is_cut_off_is_not_complete() -> None:
    found, complete = parts(b"--b\r\n\r\n\r\nhalf a part", b"b", [7])
    assert (found, complete) == ([], False)


@pytest.mark.parametrize("header", ["", "application/dicom", "multipart/related", 'multipart/related; boundary=""'])
def test_a_content_type_without_boundary(header: str) -> None:
    with pytest.raises(BadInput):
        boundary_of(header)


def test_accept_headers() -> None:
    (ohif,) = parse_accept("multipart/related; type=application/octet-stream; transfer-syntax=*")
    assert (ohif.media_type, ohif.transfer_syntax, ohif.multipart) == ("application/octet-stream", "*", True)
    first, second, third = parse_accept(
        'multipart/related; type="image/jls"; transfer-syntax="1.2.840.10008.1.2.4.80"; q=0.5, '
        "application/dicom, */*;q=0.1"
    )
    assert (first.media_type, second.media_type, third.media_type) == ("application/dicom", "image/jls", "*/*")
    assert covers(third, "image/png")
    assert covers(parse_accept("image/*")[0], "image/jls")
    assert not covers(parse_accept("image/*")[0], "video/mp4")
    assert wants_json(parse_accept("application/dicom+json, application/json"))
    assert wants_json(parse_accept(""))
    assert not wants_json(parse_accept("text/html"))
    assert parse_accept("image/png;q=0")[0].media_type == "*/*"


@given(strategies.text(max_size=200))
def test_any_accept_header_is_read(header: str) -> None:
    assert parse_accept(header)
