"""Stored pixels of one frame, exact, whatever the transfer syntax; and their way to HU.

Each syntax has one decoder that was compared bit for bit with pydicom's (tests/imaging/test_decode.py): uncompressed
little endian is read straight into its place, JPEG-LS and JPEG 2000 go through imagecodecs (which frees the GIL), RLE
through pylibjpeg-rle; everything else, and everything unusual, goes through pydicom with gdcm, openjpeg or pyjpegls.
dicomsdl is as fast but crashes the process on truncated files, and gdcm's RLE encoder crashes too: neither is used so.
"""

from collections.abc import Callable

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)
from rle.utils import decode_frame as decode_rle

from readingroom.core.errors import BadInput, Unsupported
from readingroom.core.sealed import Source
from readingroom.imaging.header import SliceHeader, parse_numbers, read_dataset, read_header, text_of

__all__ = ["decode_frame", "modality_values", "read_header", "stored_pixels", "to_modality"]

_NATIVE = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
_FREE: dict[str, Callable[[bytes], np.ndarray]] = {
    JPEGLSLossless: imagecodecs.jpegls_decode,
    JPEGLSNearLossless: imagecodecs.jpegls_decode,
    JPEG2000Lossless: imagecodecs.jpeg2k_decode,
    JPEG2000: imagecodecs.jpeg2k_decode,
}
_PLUGINS = {
    JPEGBaseline8Bit: "gdcm",
    JPEGExtended12Bit: "gdcm",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
# pylibjpeg here only ever means openjpeg and rle: pylibjpeg-libjpeg is GPL and not installed.
_UNCOMPRESSED = frozenset({*_NATIVE, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian})
_LARGEST_FRAME = 1 << 30


def decode_frame(source: Source | Dataset, frame: int = 1) -> np.ndarray:
    """Return the stored values of one frame (1-based): ``(rows, columns)``, or ``(rows, columns, 3)`` as RGB.

    Bits above BitsStored are masked and signed values sign-extended. YBR is turned into RGB; palette indices stay
    indices. Raises BadInput where there are no usable pixels, Unsupported for a transfer syntax without decoder.
    """
    ds = source if isinstance(source, Dataset) else read_dataset(source)
    if "PixelData" not in ds:
        raise BadInput("The object holds no pixel data.")
    syntax = ds.file_meta.get("TransferSyntaxUID") if hasattr(ds, "file_meta") else None
    if syntax not in _UNCOMPRESSED and syntax not in _PLUGINS:
        raise Unsupported("No decoder for this transfer syntax.", code="transfer-syntax")
    frames = _integer(ds, "NumberOfFrames", 1)
    if not 1 <= frame <= frames:
        raise BadInput(f"There is no frame {frame}: the object holds {frames}.")
    samples = _integer(ds, "SamplesPerPixel", 1)
    size = _integer(ds, "Rows", 0) * _integer(ds, "Columns", 0) * samples
    if not 0 < size <= _LARGEST_FRAME:
        raise BadInput("Rows and Columns make no possible image.")
    try:
        # pydicom refuses what it does not know to be in a valid state; decoders raise their own kinds of errors.
        pixels = pixel_array(ds, index=frame - 1, decoding_plugin=_PLUGINS.get(syntax, ""))
    except Exception as error:
        raise BadInput(f"The pixels cannot be decoded ({type(error).__name__}).") from None
    if samples > 1 or pixels.dtype.kind == "f":
        return pixels
    stored, allocated = _integer(ds, "BitsStored", 16), _integer(ds, "BitsAllocated", 16)
    high = _integer(ds, "HighBit", stored - 1)
    shift = high + 1 - stored if syntax in _UNCOMPRESSED else 0
    if allocated not in (8, 16, 32):
        return pixels
    return _clean(pixels.copy() if not pixels.flags.writeable else pixels, stored, shift)


def _integer(ds: Dataset, keyword: str, default: int) -> int:
    values = parse_numbers(text_of(ds, keyword))
    return int(values[0]) if values else default


def stored_pixels(header: SliceHeader, out: np.ndarray | None = None) -> np.ndarray:
    """Return the stored values of a single-frame greyscale file, by the fastest exact way.

    ``out``: where to put them, C-contiguous ``(rows, columns)``, 2 bytes an element; used if it fits. int16 or uint16
    by PixelRepresentation (uint8 data are widened). Raises BadInput, Unsupported as ``decode_frame``.
    """
    shape = (header.Rows, header.Columns)
    dtype = np.dtype(np.int16 if header.PixelRepresentation else np.uint16)
    plain = (
        header.SamplesPerPixel == 1
        and header.NumberOfFrames == 1
        and header.BitsAllocated == 16
        and 1 <= header.BitsStored <= 16
        and header.pixel_offset > 0
        and 0 < header.Rows * header.Columns <= _LARGEST_FRAME
    )
    if not plain:
        return _widen(decode_frame(header.path), dtype)
    target = out.view(dtype) if out is not None else np.empty(shape, dtype)
    shift = max(0, header.HighBit + 1 - header.BitsStored)
    syntax = header.TransferSyntaxUID
    if syntax in _NATIVE:
        with header.path.open("rb") as stream:
            stream.seek(header.pixel_offset)
            if stream.readinto(target.reshape(-1).view(np.uint8).data) != target.nbytes:  # type: ignore[attr-defined]
                raise BadInput("The pixel data is shorter than Rows and Columns say.")
        return _clean(target, header.BitsStored, shift)
    if syntax in _FREE or syntax == RLELossless:
        pixels = _decode_compressed(header, dtype)
        if pixels is not None:
            target[...] = pixels
            return _clean(target, header.BitsStored, 0)
    return _widen(decode_frame(header.path), dtype)


def _decode_compressed(header: SliceHeader, dtype: np.dtype) -> np.ndarray | None:
    """Decode one frame; None where the code stream is not what the header says (pydicom decides then)."""
    with header.path.open("rb") as stream:
        stream.seek(header.pixel_offset)
        encoded = stream.read()
    shape = (header.Rows, header.Columns)
    # Decoders raise errors of their own kinds; whatever they say, pydicom gets its try and names the refusal.
    try:
        frame = get_frame(encoded, 0, number_of_frames=1)
        if header.TransferSyntaxUID == RLELossless:
            return np.frombuffer(decode_rle(frame, shape[0] * shape[1], 16, "<"), dtype).reshape(shape)
        pixels = _FREE[header.TransferSyntaxUID](frame)
    except Exception:
        return None
    if pixels.shape != shape or pixels.dtype.itemsize != 2 or pixels.dtype.kind not in "iu":
        return None
    return pixels.view(dtype)


def _clean(pixels: np.ndarray, stored: int, shift: int) -> np.ndarray:
    """Drop bits that are not pixel (overlays, padding) and extend the sign, in place."""
    width = pixels.dtype.itemsize * 8
    if shift > 0:
        pixels >>= shift
    if not 1 <= stored < width:
        return pixels
    spare = width - stored
    if pixels.dtype.kind == "i":
        pixels <<= spare
        pixels >>= spare
    else:
        pixels &= pixels.dtype.type((1 << stored) - 1)
    return pixels


def _widen(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if pixels.ndim != 2:
        raise Unsupported("Colour images make no volume.", code="colour")
    return pixels.astype(dtype) if pixels.dtype.itemsize < 2 else pixels


def to_modality(stored: np.ndarray, header: SliceHeader) -> np.ndarray:
    """Stored values -> modality values (HU for CT): int16 where nothing is lost, float32 otherwise.

    ``stored`` may be overwritten. A Modality LUT sequence wins over slope and intercept (PS3.3 C.11.1). In CT, pixels
    of Pixel Padding Value (or its range) become -1024 HU, air, where they stand for something darker than -900 HU;
    padding declared on tissue values is a known lie of de-identifiers and is left alone.
    """
    if header.has_modality_lut:
        return _tightest(np.asarray(apply_modality_lut(stored, read_header(header.path)), np.float32))
    slope, intercept = header.RescaleSlope or 1.0, header.RescaleIntercept
    padded = _padding(stored, header, slope, intercept)
    if slope == 1.0 and float(intercept).is_integer() and stored.dtype.itemsize == 2:
        low, high = int(stored.min()), int(stored.max())
        if low + intercept >= -32768 and high + intercept <= 32767 and abs(intercept) <= 32767:
            # Adding modulo 2**16 is exact here: the sums were just shown to fit.
            values: np.ndarray = stored.view(np.int16)
            values += np.int16(intercept)
        else:
            values = stored.astype(np.float32) + np.float32(intercept)
    else:
        values = _tightest(stored.astype(np.float64) * slope + intercept)
    if padded is not None:
        values[padded] = -1024
    return values


def _tightest(values: np.ndarray) -> np.ndarray:
    """int16 where every value is whole and fits, float32 otherwise."""
    if values.size and np.abs(values).max() <= 32767:
        whole = np.rint(values)
        if np.array_equal(whole, values):
            return whole.astype(np.int16)
    return values.astype(np.float32)


def _padding(stored: np.ndarray, header: SliceHeader, slope: float, intercept: float) -> np.ndarray | None:
    if header.Modality != "CT" or header.PixelPaddingValue is None:
        return None
    limit = header.PixelPaddingRangeLimit
    low, high = sorted((header.PixelPaddingValue, header.PixelPaddingValue if limit is None else limit))
    if high * slope + intercept > -900:
        return None
    padded = (stored >= low) & (stored <= high)
    return padded if padded.any() else None


def modality_values(source: Source | Dataset, frame: int = 1) -> np.ndarray:
    """Return one greyscale frame in modality values, float32 (for display; volumes use ``stored_pixels``)."""
    ds = source if isinstance(source, Dataset) else read_dataset(source)
    return np.asarray(apply_modality_lut(decode_frame(ds, frame), ds), np.float32)
