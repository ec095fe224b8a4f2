"""A frame as a picture for people: PNG or JPEG, windowed as the object or the caller asks (PS3.3 C.11, PS3.18).

The picture keeps the stored pixel grid (no aspect correction), so that places on it are places in the image. It is for
display: readers never see it.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut

from readingroom.core.errors import BadInput
from readingroom.core.sealed import Source
from readingroom.imaging.decode import decode_frame
from readingroom.imaging.header import parse_numbers, read_dataset, text_of

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """A VOI window in modality values. Raises BadInput for a width the function cannot have."""

    centre: float
    width: float
    function: VoiFunction = "LINEAR"

    def __post_init__(self) -> None:
        least = 1.0 if self.function == "LINEAR" else 0.0
        good = np.isfinite([self.centre, self.width]).all()
        if not good or self.width < least or (least == 0 and self.width <= 0):
            raise BadInput("The window width is not possible.", "LINEAR needs at least 1, the others more than 0.")
        if self.function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
            raise BadInput("The VOI LUT function is LINEAR, LINEAR_EXACT or SIGMOID.")

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Modality values -> 0..1 (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(-4 * (values - self.centre) / self.width))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.centre) / self.width + 0.5, 0, 1)
        # C.11.2.1.2.1: centre - 0.5 and width - 1; a width of 1 is a step.
        return np.clip((values - (self.centre - 0.5)) / max(self.width - 1, 1e-9) + 0.5, 0, 1)


def render_png(
    source: Source | Dataset, frame: int = 1, window: Window | None = None, size: tuple[int, int] | None = None
) -> bytes:
    """Return the frame as PNG; see ``render``."""
    return _encode(render(source, frame, window, size), "PNG")


def render_jpeg(
    source: Source | Dataset,
    frame: int = 1,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    quality: int = 90,
) -> bytes:
    """Return the frame as baseline JPEG, ``quality`` 1..100; see ``render``."""
    return _encode(render(source, frame, window, size), "JPEG", quality=min(100, max(1, quality)))


def render(
    source: Source | Dataset, frame: int = 1, window: Window | None = None, size: tuple[int, int] | None = None
) -> Image.Image:
    """Return one frame (1-based) as an 8-bit picture, ``L`` or ``RGB``.

    Without ``window`` the object's own VOI LUT or first window is used, else the spread of its values. ``size``:
    largest (width, height); the picture shrinks to fit with its proportions, never grows. Raises BadInput,
    Unsupported as ``decode_frame``.
    """
    ds = source if isinstance(source, Dataset) else read_dataset(source)
    pixels = decode_frame(ds, frame)
    photometric = text_of(ds, "PhotometricInterpretation")
    if photometric == "PALETTE COLOR":
        picture = _colour(_palette(pixels, ds))
    elif pixels.ndim == 3:
        picture = _colour(pixels)
    else:
        grey = _grey(pixels, ds, frame, window)
        if photometric == "MONOCHROME1":
            # Presentation LUT Shape INVERSE says the same thing again: it is no second inversion.
            grey = 1 - grey
        picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8), "L")
    if size is not None:
        picture.thumbnail((max(1, size[0]), max(1, size[1])), Image.Resampling.LANCZOS)
    return picture


def _grey(pixels: np.ndarray, ds: Dataset, frame: int, window: Window | None) -> np.ndarray:
    transform = _frame_group(ds, frame, "PixelValueTransformationSequence") or ds
    try:
        values = np.asarray(apply_modality_lut(pixels, transform), np.float32)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError):
        values = pixels.astype(np.float32)
    voi = _frame_group(ds, frame, "FrameVOILUTSequence") or ds
    if window is None and voi.get("VOILUTSequence"):
        shown = _voi_lut(values, voi.VOILUTSequence[0])
        if shown is not None:
            return shown
    return (window or _own_window(voi) or _spread(values, pixels, ds)).apply(values)


def _voi_lut(values: np.ndarray, item: Dataset) -> np.ndarray | None:
    """Values through a VOI LUT, 0..1 (PS3.3 C.11.2.1.1); None where the table makes no sense.

    Our own: pydicom 3.0.2 wraps around beyond 256 values where the table is 8 bits deep.
    """
    descriptor = parse_numbers(text_of(item, "LUTDescriptor"))
    data = item.get("LUTData")
    if len(descriptor) != 3 or data is None:
        return None
    count, first, bits = int(descriptor[0]) or 65536, int(descriptor[1]), int(descriptor[2])
    if isinstance(data, bytes):
        wide = len(data) >= 2 * count
        table = np.frombuffer(data[: count * (2 if wide else 1)], "<u2" if wide else "u1")
    else:
        table = np.atleast_1d(np.array(data))
    if not 8 <= bits <= 16 or table.size < 1:
        return None
    if first >= 32768 and values.min() < 0:
        # US or SS: the sign of the first value mapped is that of the values.
        first -= 65536
    index = np.clip(np.rint(values) - first, 0, min(count, table.size) - 1).astype(np.int64)
    return np.asarray(table[index] / float((1 << bits) - 1), np.float32).clip(0, 1)


def _frame_group(ds: Dataset, frame: int, name: str) -> Dataset | None:
    """The functional group item that governs a frame of an enhanced object, its own before the shared one."""
    own = ds.get("PerFrameFunctionalGroupsSequence") or []
    shared = ds.get("SharedFunctionalGroupsSequence") or []
    for groups in ([own[frame - 1]] if frame <= len(own) else [], shared):
        for group in groups:
            if group.get(name):
                item: Dataset = group[name].value[0]
                return item
    return None


def _own_window(ds: Dataset) -> Window | None:
    centre, width = parse_numbers(text_of(ds, "WindowCenter")), parse_numbers(text_of(ds, "WindowWidth"))
    if not centre or not width:
        return None
    functions: dict[str, VoiFunction] = {"LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID"}
    try:
        return Window(centre[0], width[0], functions.get(text_of(ds, "VOILUTFunction"), "LINEAR"))
    except BadInput:
        return None


def _spread(values: np.ndarray, pixels: np.ndarray, ds: Dataset) -> Window:
    padding = parse_numbers(text_of(ds, "PixelPaddingValue"))
    used = values[pixels != padding[0]] if padding else values
    if used.size == 0:
        used = values
    low, high = np.percentile(used, (0.5, 99.5))
    return Window(float(low + high) / 2, max(float(high - low), 1e-3), "LINEAR_EXACT")


def _palette(pixels: np.ndarray, ds: Dataset) -> np.ndarray:
    try:
        return np.asarray(apply_color_lut(pixels, ds))
    except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise BadInput(f"The palette cannot be applied ({type(error).__name__}).") from None


def _colour(pixels: np.ndarray) -> Image.Image:
    if pixels.dtype.itemsize > 1:
        pixels = (pixels.astype(np.uint32) >> 8).astype(np.uint8)
    if pixels.shape[-1] not in (3, 4):
        raise BadInput("The colour image has an unusual number of samples.")
    return Image.fromarray(np.ascontiguousarray(pixels[..., :3]), "RGB")


def _encode(picture: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
