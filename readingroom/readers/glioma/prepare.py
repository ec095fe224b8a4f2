"""What the network sees of a stack of axial slices: FLAIR, post-contrast T1 and the mirrored FLAIR, made comparable.

MR has no unit. Each series is centred on the median and divided by the spread of what lies deep in the head, away from
the fat of the scalp (Nyul 1999 gives the reason; robust statistics here), so that normal brain lies near 0. The third
channel is the FLAIR mirrored left to right about the middle of the head: most tumours are on one side, and what differs
from the other side stands out.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 256, 224
"""Of the window around the middle of the head that the network sees, mm (pixels of 1 mm)."""
LOW, HIGH = -4.0, 6.0
"""Where normalised values are cut off."""
CHANNELS = 3
DEEP_MM = 15
"""Brain, not scalp or skull: at least so far from the skin."""
_SMOOTH_MM = 2.0


def head_mask(stack: np.ndarray) -> np.ndarray:
    """Return the head in ``stack`` ``(slices, rows, columns)`` at about 1 mm: brighter than air, holes filled.

    The threshold is a part of Otsu's (1979) on the smoothed stack, as skull and fluid are dark.
    """
    smooth = ndimage.gaussian_filter(stack.astype(np.float32), (0, _SMOOTH_MM, _SMOOTH_MM))
    threshold = 0.5 * otsu(smooth)
    out = np.zeros(stack.shape, bool)
    for n, plane in enumerate(smooth):
        labels, count = ndimage.label(plane > threshold)
        if count:
            largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
            out[n] = ndimage.binary_fill_holes(largest)
    return out


def otsu(values: np.ndarray) -> float:
    """Return the threshold that parts the values into two kinds best (Otsu 1979), from 256 bins up to the 99.5th
    percentile."""
    top = float(np.percentile(values, 99.5))
    low = float(values.min())
    if top <= low:
        return top
    counts, edges = np.histogram(values, 256, (low, top))
    middle = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    mass = np.cumsum(counts * middle)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return float(middle[int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])


def normalised(stack: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Return ``stack`` centred on the median of the deep part of the head in units of its spread (interquartile range /
    1.349), cut to LOW..HIGH; float16, LOW outside the head."""
    deep = depth_of(head) >= DEEP_MM
    inside = stack[deep if deep.sum() >= 100 else head].astype(np.float32)
    if inside.size < 100:
        return np.full(stack.shape, LOW, np.float16)
    low, middle, high = np.percentile(inside, (25, 50, 75))
    spread = max(float(high - low) / 1.349, 1e-6)
    scaled = (stack.astype(np.float32) - middle) / spread
    return np.where(head, np.clip(scaled, LOW, HIGH), LOW).astype(np.float16)


def depth_of(head: np.ndarray) -> np.ndarray:
    """Return how deep in the head each pixel of each slice lies, whole mm; uint8, 255 at most."""
    return np.stack([np.minimum(ndimage.distance_transform_edt(plane), 255) for plane in head]).astype(np.uint8)


def middle_of(head: np.ndarray) -> tuple[int, int]:
    """Return the middle ``(row, column)`` of the head's bounding box over all slices; of the image where none is."""
    shadow = np.any(head, axis=0)
    if not shadow.any():
        return head.shape[1] // 2, head.shape[2] // 2
    rows, columns = np.flatnonzero(np.any(shadow, axis=1)), np.flatnonzero(np.any(shadow, axis=0))
    return int(rows[0] + rows[-1] + 1) // 2, int(columns[0] + columns[-1] + 1) // 2


def window(
    stack: np.ndarray, middle: tuple[int, int], fill: float, size: tuple[int, int] = (HEIGHT, WIDTH)
) -> np.ndarray:
    """Return the part of ``stack`` ``(slices, rows, columns)`` of ``size`` around ``middle``, ``fill`` beyond it."""
    out = np.full((len(stack), *size), fill, stack.dtype)
    place, source = [], []
    for at, length, there in zip(middle, size, stack.shape[1:], strict=True):
        start = at - length // 2
        low, high = max(0, start), min(there, start + length)
        place.append(slice(low - start, max(low, high) - start))
        source.append(slice(low, max(low, high)))
    out[:, place[0], place[1]] = stack[:, source[0], source[1]]
    return out


def put_back(windowed: np.ndarray, middle: tuple[int, int], shape: tuple[int, int], fill: float) -> np.ndarray:
    """Return a window's values at their place in slices of ``shape``: ``window`` the other way."""
    height, width = windowed.shape[1:]
    # Seen from the window, the middle of the image is where the image's window would be centred.
    other = (shape[0] // 2 - middle[0] + height // 2, shape[1] // 2 - middle[1] + width // 2)
    return window(windowed, other, fill, shape)


@dataclass(frozen=True, eq=False)
class Seen:
    """Normalised windows ``(slices, HEIGHT, WIDTH)`` of FLAIR and, where there is one, of the post-contrast series;
    ``head``: mask on the whole stack, ``middle``: where the windows are centred."""

    flair: np.ndarray
    post: np.ndarray | None
    head: np.ndarray
    middle: tuple[int, int]

    @property
    def image(self) -> np.ndarray:
        """What the network takes."""
        return channels(self.flair, self.post)


def seen(flair: np.ndarray, post: np.ndarray | None) -> Seen:
    """Prepare the axial stacks ``(slices, rows, columns)`` of one study at 1 mm, on the same grid."""
    head = head_mask(flair)
    middle = middle_of(head)
    windows = [None if one is None else window(normalised(one, head), middle, LOW) for one in (flair, post)]
    assert windows[0] is not None
    return Seen(windows[0], windows[1], head, middle)


def channels(flair: np.ndarray, post: np.ndarray | None) -> np.ndarray:
    """Return the network's image ``(slices, 3, rows, columns)``, float32 about -1..1.5, of normalised windows.

    Where there is no ``post`` its channel is 0 everywhere: the network has learnt to read without it.
    """
    out = np.zeros((len(flair), CHANNELS, *flair.shape[1:]), np.float32)
    out[:, 0] = flair
    if post is not None:
        out[:, 1] = post
    out[:, 2] = flair[:, :, ::-1]
    return out / 4
