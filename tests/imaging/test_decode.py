"""Every decoder against pydicom's, bit for bit: by transfer syntax, sign and bits stored."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from support import make_ct_slice

from readingroom.core.errors import BadInput, ReadingRoomError, Unsupported
from readingroom.imaging.decode import decode_frame, stored_pixels, to_modality
from readingroom.imaging.header import parse_numbers, read_slice_header

_RANDOM = np.random.default_rng(7)


def _slice(stored: int, signed: bool, rows: int = 37, columns: int = 51) -> tuple[Dataset, np.ndarray]:
    low, high = (-(1 << (stored - 1)), 1 << (stored - 1)) if signed else (0, 1 << stored)
    pixels = _RANDOM.integers(low, high, (rows, columns)).astype(np.int16 if signed else np.uint16)
    # Smooth parts as well as noise: run-length and predictive codecs take different ways through them.
    pixels[: rows // 2] = np.linspace(low, high - 1, columns).astype(pixels.dtype)
    ds = make_ct_slice(study_uid="1.2.3", series_uid="1.2.3.4", number=1, z_mm=0.0, rows=rows, columns=columns,
                       pixels=np.zeros((rows, columns), np.uint16))  # fmt: skip
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = stored, stored - 1, int(signed)
    ds.PixelData = pixels.tobytes()
    return ds, pixels


def _write(ds: Dataset, syntax: str, path: Path) -> Path:
    if syntax in (JPEGLSLossless, RLELossless, JPEG2000Lossless):
        # Never gdcm here: its RLE encoder crashes the process.
        plugin = "pyjpegls" if syntax == JPEGLSLossless else "pylibjpeg"
        ds.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()
        ds.file_meta.TransferSyntaxUID = syntax
    else:
        ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
    if syntax == DeflatedExplicitVRLittleEndian:
        _deflate(path)
    return path


def _deflate(path: Path) -> None:
    """Deflate what follows the file meta information (PS3.5 A.5), where pydicom wrote it plain."""
    data = path.read_bytes()
    start = 132 + 12 + int.from_bytes(data[140:144], "little")
    try:
        zlib.decompress(data[start:], -zlib.MAX_WBITS)
    except zlib.error:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        path.write_bytes(data[:start] + packer.compress(data[start:]) + packer.flush())


# pydicom's encoders write no 8-bit code stream for 16 allocated bits, and no signed JPEG-LS (see its own test).
_CASES = [
    (syntax, stored, signed)
    for syntax in (
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        RLELossless,
        JPEGLSLossless,
        JPEG2000Lossless,
    )
    for stored in (8, 10, 12, 15, 16)
    for signed in (False, True)
    if not (syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless) and stored == 8)
    and not (syntax == JPEGLSLossless and signed)
]


@pytest.mark.parametrize(("syntax", "stored", "signed"), _CASES)
def test_lossless_syntaxes_are_exact(syntax: str, stored: int, signed: bool, tmp_path: Path) -> None:
    ds, pixels = _slice(stored, signed)
    path = _write(ds, syntax, tmp_path / "a.dcm")
    np.testing.assert_array_equal(stored_pixels(read_slice_header(path)), pixels)
    np.testing.assert_array_equal(decode_frame(path), pixels)
    np.testing.assert_array_equal(dcmread(path).pixel_array, pixels)


@pytest.mark.parametrize("stored", [12, 16])
def test_signed_jpeg_ls(stored: int, tmp_path: Path) -> None:
    """JPEG-LS knows no sign: the bit pattern travels as unsigned, as scanners send it."""
    import imagecodecs

    ds, pixels = _slice(stored, True)
    pattern = pixels.view(np.uint16) & np.uint16((1 << stored) - 1)
    ds.PixelData = encapsulate([imagecodecs.jpegls_encode(pattern)])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(stored_pixels(read_slice_header(tmp_path / "a.dcm")), pixels)
    np.testing.assert_array_equal(decode_frame(tmp_path / "a.dcm"), pixels)


def test_bits_above_bits_stored_are_no_pixels(tmp_path: Path) -> None:
    ds, pixels = _slice(12, False)
    dirty = pixels | np.uint16(0xA000)
    ds.PixelData = dirty.tobytes()
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(stored_pixels(read_slice_header(tmp_path / "a.dcm")), pixels)
    np.testing.assert_array_equal(decode_frame(tmp_path / "a.dcm"), pixels)


def test_high_bit_that_is_not_the_lowest_place(tmp_path: Path) -> None:
    ds, pixels = _slice(12, False)
    ds.HighBit = 15
    ds.PixelData = (pixels << 4).astype(np.uint16).tobytes()
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(stored_pixels(read_slice_header(tmp_path / "a.dcm")), pixels)


def test_truncated_pixels_are_refused_and_never_read_as_something(tmp_path: Path) -> None:
    ds, _ = _slice(12, False)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "b.dcm").write_bytes(whole[:-100])
    with pytest.raises(BadInput):
        stored_pixels(read_slice_header(tmp_path / "b.dcm"))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_truncated_code_streams_are_refused(syntax: str, tmp_path: Path) -> None:
    ds, pixels = _slice(12, False)
    path = _write(ds, syntax, tmp_path / "a.dcm")
    data = bytearray(path.read_bytes())
    at = bytes(data).find(b"\xfe\xff\x00\xe0", bytes(data).find(b"\xe0\x7f\x10\x00")) + 40
    data[at : at + 600] = bytes(len(data[at : at + 600]))
    path.write_bytes(bytes(data[: at + 600]))
    try:
        found = stored_pixels(read_slice_header(path))
    except ReadingRoomError:
        return
    assert found.shape == pixels.shape, "a decoder may repair, never change the shape"


def test_unknown_transfer_syntax_is_unsupported(tmp_path: Path) -> None:
    ds, _ = _slice(12, False)
    ds.PixelData = encapsulate([b"0000"])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(Unsupported):
        decode_frame(tmp_path / "a.dcm")


def test_real_series_match_pydicom(shared_data: Path) -> None:
    """One slice of each real series, through every way in."""
    picked = [sorted(f.glob("*.dcm"))[n] for f in sorted(shared_data.glob("lung_ct_*")) for n in (0, 40)]
    picked += [sorted(f.glob("*.dcm"))[3] for f in sorted(shared_data.glob("prostate_mr_prostatex/*/*")) if f.is_dir()]
    assert len(picked) >= 9
    for path in picked:
        expected = dcmread(path).pixel_array
        np.testing.assert_array_equal(stored_pixels(read_slice_header(path)), expected)
        np.testing.assert_array_equal(decode_frame(path), expected)


def test_every_interop_image_decodes_as_pydicom_or_is_refused(shared_data: Path) -> None:
    decoded = 0
    syntaxes = set()
    for path in sorted((shared_data / "dicom_interop").rglob("*.dcm")):
        try:
            found = decode_frame(path)
        except ReadingRoomError:
            continue
        ds = dcmread(path)
        expected = pixel_array(ds, index=0)
        if found.ndim == 2:
            stored = int(ds.BitsStored)
            mask = (1 << stored) - 1
            np.testing.assert_array_equal(found.astype(np.int64) & mask, expected.astype(np.int64) & mask)
        elif ds.file_meta.TransferSyntaxUID.is_compressed and "JPEGBaseline" in ds.file_meta.TransferSyntaxUID.keyword:
            # Lossy: gdcm and pydicom's default may round differently.
            assert np.abs(found.astype(int) - expected.astype(int)).mean() < 2
        else:
            np.testing.assert_array_equal(found, expected)
        decoded += 1
        syntaxes.add(str(ds.file_meta.TransferSyntaxUID))
    assert decoded > 60
    assert {JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless} & syntaxes


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1.5\\2", (1.5, 2.0)),
        (" -1024abc ", (-1024.0,)),
        ("1,5\\3.25e1", (1.5, 32.5)),
        ("0.78125000000000000000001\\x", (0.78125,)),
        ("", ()),
        ("junk", ()),
    ],
)
def test_junk_around_numbers_loses_nothing(text: str, numbers: tuple[float, ...]) -> None:
    assert parse_numbers(text) == numbers


def test_headers_with_junk_read_alike_by_both_parsers(tmp_path: Path) -> None:
    from readingroom.imaging import header

    ds, _ = _slice(12, False)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes().replace(b"-160.0\\-160.0\\0.0 ", b"-160.0x\\-160,0\\ 0 ")
    (tmp_path / "a.dcm").write_bytes(raw)
    fast, slow = read_slice_header(tmp_path / "a.dcm"), header._by_pydicom(tmp_path / "a.dcm")
    assert fast.ImagePositionPatient == slow.ImagePositionPatient == (-160.0, -160.0, 0.0)
    differing = {n for n in fast.__slots__ if getattr(fast, n) != getattr(slow, n)}
    assert differing == {"pixel_offset", "pixel_length"}


def test_rescale_to_hu_exactly_and_float_only_when_needed(tmp_path: Path) -> None:
    ds, pixels = _slice(12, False)
    for slope, intercept, dtype in ((1, -1024, np.int16), (2, -1000, np.int16), (0.5, -1024, np.float32)):
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        ds.save_as(tmp_path / "a.dcm", enforce_file_format=True, overwrite=True)
        header = read_slice_header(tmp_path / "a.dcm")
        values = to_modality(stored_pixels(header), header)
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, pixels * float(slope) + intercept)


def test_values_that_do_not_fit_int16_become_float(tmp_path: Path) -> None:
    ds, pixels = _slice(16, False)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    header = read_slice_header(tmp_path / "a.dcm")
    values = to_modality(stored_pixels(header), header)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, pixels.astype(np.float64) - 1024)


def test_padding_becomes_air_and_never_eats_tissue(tmp_path: Path) -> None:
    ds, pixels = _slice(16, True)
    pixels[:] = 40
    pixels[:5] = -2000
    ds.RescaleIntercept, ds.PixelData, ds.PixelPaddingValue = 0, pixels.tobytes(), -2000
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    header = read_slice_header(tmp_path / "a.dcm")
    values = to_modality(stored_pixels(header), header)
    assert (values[:5] == -1024).all()
    assert (values[5:] == 40).all()
    ds.PixelPaddingValue = 40
    ds.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    header = read_slice_header(tmp_path / "b.dcm")
    assert (to_modality(stored_pixels(header), header)[5:] == 40).all()


def test_modality_lut_wins(tmp_path: Path) -> None:
    ds, _ = _slice(12, False)
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [4096, 0, 16], "US"
    lut.LUTData = (np.arange(4096, dtype=np.uint16) * 3).tobytes()
    lut["LUTData"].VR = "OW"
    ds.ModalityLUTSequence = [lut]
    del ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    header = read_slice_header(tmp_path / "a.dcm")
    stored = stored_pixels(header)
    np.testing.assert_array_equal(to_modality(stored.copy(), header), stored.astype(int) * 3)


def test_not_dicom_is_bad_input(tmp_path: Path) -> None:
    for name, data in (("empty", b""), ("text", b"hello" * 100), ("zeros", bytes(4000))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadInput):
            read_slice_header(tmp_path / name)
        with pytest.raises(BadInput):
            decode_frame(tmp_path / name)
