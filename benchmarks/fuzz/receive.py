"""Fuzz what a DICOM peer can send: the upper layer, the command set, the data set, whole files.

The first byte of an input says which entrance it comes through.
"""

import socket
import struct
import threading
import zlib
from contextlib import suppress
from pathlib import Path

import atheris
from common import MAX_BYTES, House, mutate_framed, run
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from benchmarks.common import write_instances
from readingroom.archive import header_scan
from readingroom.archive.dimse import commands, pdu
from readingroom.archive.dimse.association import Association
from readingroom.archive.part10 import file_meta
from readingroom.core.errors import BadInput

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
ASSOCIATION, FILE, HEADER, DATA_SET, COMMAND = range(5)
HOUSE = House()
LISTENER = socket.create_server(("127.0.0.1", 0), backlog=4)


def one(data: bytes) -> None:
    if len(data) < 3:
        return
    entrance, variant, rest = data[0] % 5, data[1], bytes(data[2:MAX_BYTES])
    if entrance == ASSOCIATION:
        _association(rest)
    elif entrance == FILE:
        HOUSE.archive.put_file(rest, source="fuzz")
    elif entrance == HEADER:
        with suppress(BadInput):
            header_scan.scan(rest, 0, SYNTAXES[variant % 4])
    elif entrance == DATA_SET:
        HOUSE.archive.put_stream(
            rest,
            transfer_syntax_uid=SYNTAXES[variant % 4],
            sop_class_uid=CTImageStorage,
            sop_instance_uid="1.2.3",
            source="fuzz",
        )
    else:
        for parse in (commands.parse_request, commands.parse_response_status, pdu.parse_associate_accept):
            with suppress(BadInput, pdu.InvalidPdu):
                parse(rest)


def _association(sent: bytes) -> None:
    """Say ``sent`` to an association over a real socket, then close our side; it must come to its end."""
    ours = socket.create_connection(LISTENER.getsockname())
    theirs, _ = LISTENER.accept()
    # Closed without a farewell: otherwise a million closed connections use up the ports.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    archive = HOUSE.archive
    with ours, theirs:
        ours.sendall(sent)
        ours.shutdown(socket.SHUT_WR)
        Association(theirs, archive.settings, archive, threading.Event(), host="127.0.0.1").run()


def seeds() -> list[bytes]:
    paths = write_instances(HOUSE.archive.settings.work_folder, studies=1, slices=1, rows=8)
    file = paths[0].read_bytes()
    found = [bytes([FILE, 0]) + file]
    for number, syntax in enumerate(SYNTAXES):
        body = _encoded(_nested(paths[0]), syntax)
        meta = file_meta(SOPClassUID=CTImageStorage, SOPInstanceUID="1.2.3", TransferSyntaxUID=syntax)
        found += [bytes([FILE, number]) + meta + body]
        found += [bytes([entrance, number]) + body for entrance in (HEADER, DATA_SET)]
    request = commands.encode_store_request(1, CTImageStorage, "1.2.3")
    contexts = [pdu.PresentationContext(1, CTImageStorage, (ImplicitVRLittleEndian,))]
    stream = pdu.encode_associate_request("READINGROOM", "FUZZ", contexts)
    stream += pdu.encode_command(1, request, 16384)
    body = _encoded(_nested(paths[0]), ImplicitVRLittleEndian)
    stream += struct.pack(">BxI", 4, len(body) + 6) + struct.pack(">IBB", len(body) + 2, 1, 2) + body
    stream += struct.pack(">BxI", 5, 4) + bytes(4)
    return [*found, bytes([ASSOCIATION, 0]) + stream, bytes([COMMAND, 0]) + request]


def _encoded(ds: Dataset, syntax: str) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_little_endian = syntax != ExplicitVRBigEndian
    buffer.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(buffer, ds)
    if syntax != DeflatedExplicitVRLittleEndian:
        return buffer.getvalue()
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(buffer.getvalue()) + packer.flush()


def _nested(path: Path) -> Dataset:
    ds = dcmread(path)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99RR", "one"
    outer.ConceptCodeSequence = [inner, inner]
    outer.add_new(0x00091001, "LO", "private")
    ds.ProcedureCodeSequence = [outer]
    ds["ProcedureCodeSequence"].is_undefined_length = True
    ds.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    return ds


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Mutate within one PDU of an association's bytes, and its length with it; anything else as bytes."""
    if len(data) > 8 and data[0] % 5 == ASSOCIATION:
        frames, at = [], 2
        while at + 6 <= len(data):
            length = int.from_bytes(data[at + 2 : at + 6], "big")
            frames.append((at + 6, min(length, len(data) - at - 6), 4))
            at += 6 + length
        return mutate_framed(data, frames, seed, max_size)
    return bytes(data[:2]) + atheris.Mutate(bytes(data[2:]), max_size - 2) if len(data) > 2 else bytes(data)


if __name__ == "__main__":
    run(one, seeds(), mutate)
