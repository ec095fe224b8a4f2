"""Rendered frames and thumbnails (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.5): what the request asks for, made by
``imaging``.
"""

from readingroom.archive.receive import Archive
from readingroom.archive.wado import StoredInstance
from readingroom.core.errors import BadInput
from readingroom.imaging.render import VoiFunction, Window, render_jpeg, render_png

IMAGE_TYPES = ("image/jpeg", "image/png")
THUMBNAIL_PIXELS = 128
_MAX_VIEWPORT_PIXELS = 8192
_FUNCTIONS: dict[str, VoiFunction] = {
    "": "LINEAR",
    "linear": "LINEAR",
    "linear-exact": "LINEAR_EXACT",
    "linear_exact": "LINEAR_EXACT",
    "sigmoid": "SIGMOID",
}


def window_of(text: str) -> Window | None:
    """Read ``window=center,width,function`` with a function of PS3.18 (``linear``, ``linear-exact``, ``sigmoid``).

    Raises BadInput.
    """
    if not text:
        return None
    center, width, function = ([*text.split(","), "", ""])[:3]
    name = _FUNCTIONS.get(function.strip().lower())
    if name is None:
        raise BadInput("The window's function must be linear, linear-exact or sigmoid.")
    try:
        return Window(float(center), float(width), name)
    except ValueError:
        raise BadInput("window must be center,width,function.") from None


def render(
    archive: Archive,
    instance: StoredInstance,
    frame: int,
    media_type: str,
    *,
    window: Window | None,
    viewport: str = "",
    thumbnail: bool = False,
) -> bytes:
    """Return one frame as PNG or JPEG. ``viewport``: ``width,height`` to fit into, in pixels. Raises BadInput."""
    size = (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS) if thumbnail and not viewport else _viewport(viewport)
    make = render_png if media_type == "image/png" else render_jpeg
    return make(archive.store.source(instance.store_key), frame, window, size)


def _viewport(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        width, height = (int(part) for part in text.split(",")[:2])
    except ValueError:
        raise BadInput("viewport must be width,height.") from None
    if not (0 < width <= _MAX_VIEWPORT_PIXELS and 0 < height <= _MAX_VIEWPORT_PIXELS):
        raise BadInput(f"The viewport must be between 1 and {_MAX_VIEWPORT_PIXELS} pixels.")
    return width, height
