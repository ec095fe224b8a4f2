"""The header parser under attack: whatever the bytes, it answers or refuses, as pydicom would."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian
from support import make_ct_slice

from readingroom.core.errors import BadInput
from readingroom.imaging.elements import PIXEL_DATA, NotReadable, find_elements
from readingroom.imaging.header import read_slice_header

_SOP = 0x00080018


def _file(path: Path, implicit: bool = False, undefined: bool = True, long: bool = False) -> Path:
    ds = make_ct_slice(study_uid="1.2.3", series_uid="1.2.3.4", number=1, z_mm=0.0)
    inner, item = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "DCM", "x"
    item.PurposeOfReferenceCodeSequence = Sequence([inner])
    item.ReferencedSOPInstanceUID = "1.9.9.9"
    item.is_undefined_length_sequence_item = undefined
    ds.SourceImageSequence = Sequence([item, item])
    ds["SourceImageSequence"].is_undefined_length = undefined
    if long:
        ds.ImageComments = "x" * 9000
        ds.TextComments = "y" * 60000
    if implicit:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("long", [False, True])
def test_sequences_are_stepped_over(tmp_path: Path, implicit: bool, undefined: bool, long: bool) -> None:
    path = _file(tmp_path / "a.dcm", implicit, undefined, long)
    found = find_elements(path, frozenset({_SOP, 0x00081155}))
    ds = dcmread(path)
    assert found.values[_SOP].decode().strip("\0") == ds.SOPInstanceUID
    assert 0x00081155 not in found.values, "elements inside sequences are not the image's"
    data = path.read_bytes()
    assert data[found.pixel_offset : found.pixel_offset + found.pixel_length] == ds.PixelData


def test_every_truncation_answers_or_refuses(tmp_path: Path) -> None:
    whole = _file(tmp_path / "a.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    for length in [*range(0, 1800, 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        try:
            header = read_slice_header(path)
        except BadInput:
            continue
        assert header.SOPInstanceUID or header.SOPClassUID


def test_random_damage_answers_or_refuses(tmp_path: Path) -> None:
    whole = _file(tmp_path / "a.dcm").read_bytes()
    random = np.random.default_rng(11)
    path = tmp_path / "damaged.dcm"
    for _ in range(300):
        data = bytearray(whole)
        for at in random.integers(128, 1500, random.integers(1, 12)):
            data[at] = int(random.integers(0, 256))
        path.write_bytes(data)
        try:
            find_elements(path, frozenset({_SOP, PIXEL_DATA}))
        except NotReadable:
            continue


def test_endless_nesting_is_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.dcm")
    data = path.read_bytes()
    at = data.index(b"\x08\x00\x12\x21SQ")
    nest = (b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x12\x21SQ\0\0\xff\xff\xff\xff") * 5000
    path.write_bytes(data[: at + 12] + nest)
    with pytest.raises(NotReadable):
        find_elements(path, frozenset({_SOP}))
