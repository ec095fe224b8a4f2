"""A data set as DICOM JSON (PS3.18 annex F): tolerant of what real headers hold, large values by reference.

An element that cannot be converted keeps its place with its VR and no value; no header makes this fail.
"""

import base64
import json
import math
import warnings
from collections.abc import Iterator
from typing import Any

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

INLINE_BYTES = 1024
BULK_MARK = b'"BulkDataURI":"@bulk@/'
"""How a reference starts in the stored JSON; the real address is put in when it is served. A quote inside a value is
escaped, so no value can hold this."""

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_FLOATS = frozenset({"FL", "FD", "DS"})
_INTEGERS = frozenset({"SL", "SS", "UL", "US", "SV", "UV", "IS"})
_MAX_DEPTH = 32


def to_json(ds: Dataset, extra: dict[str, Any] | None = None) -> bytes:
    """Return ``ds`` (without group 0002) as one JSON object; ``extra`` are further elements by tag.

    Binary values above ``INLINE_BYTES`` become ``BulkDataURI`` after ``BULK_MARK``, with the element's path
    (``00540016.0.00181074``) as their name.
    """
    with warnings.catch_warnings():
        # pydicom's warnings quote values.
        warnings.simplefilter("ignore")
        body = _dataset(ds, "", 0)
    body.update(extra or {})
    return json.dumps(dict(sorted(body.items())), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "replace"
    )


def bulk_reference(path: str) -> dict[str, str]:
    return {"BulkDataURI": f"@bulk@/{path}"}


def find_bulk(ds: Dataset, path: str) -> bytes | None:
    """Return the binary value at a path as ``to_json`` wrote it, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parts = path.split(".")
            for tag, index in zip(parts[:-1:2], parts[1::2], strict=True):
                ds = ds[BaseTag(int(tag, 16))].value[int(index)]
            value = ds[BaseTag(int(parts[-1], 16))].value
        except Exception:
            return None
    return value if isinstance(value, bytes) else None


def _dataset(ds: Dataset, prefix: str, depth: int) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for tag, raw in _elements(ds):
        if tag.group == 2 or tag.element == 0 or tag in (0x7FE00010, 0x7FE00008, 0x7FE00009):
            continue
        name = f"{tag:08X}"
        try:
            body[name] = _element(ds[tag], f"{prefix}{name}", depth)
        except Exception:
            body[name] = _unreadable(raw)
    return body


def _elements(ds: Dataset) -> Iterator[tuple[BaseTag, DataElement | RawDataElement]]:
    for tag in sorted(ds.keys()):
        yield tag, ds.get_item(tag)


def _unreadable(raw: DataElement | RawDataElement) -> dict[str, Any]:
    """An element pydicom cannot convert: numbers with junk are given as they are written (PS3.18 F.2.3)."""
    vr = str(raw.VR or "UN")
    value = raw.value
    if vr in ("DS", "IS") and isinstance(value, bytes) and len(value) <= 64:
        return {"vr": vr, "Value": [part.strip(" \0") for part in value.decode("latin-1").split("\\")]}
    return {"vr": vr if len(vr) == 2 else "UN"}


def _element(element: DataElement, path: str, depth: int) -> dict[str, Any]:
    vr = element.VR if len(element.VR) == 2 else _settled(element)
    if vr == "SQ":
        if depth >= _MAX_DEPTH:
            return {"vr": vr}
        items = [_dataset(item, f"{path}.{n}.", depth + 1) for n, item in enumerate(element.value or [])]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    value = element.value
    if vr in _BINARY:
        if not isinstance(value, bytes) or not value:
            return {"vr": vr}
        if len(value) > INLINE_BYTES:
            return {"vr": vr, **bulk_reference(path)}
        return {"vr": vr, "InlineBinary": base64.b64encode(value).decode()}
    if value is None or value == "" or value == []:
        return {"vr": vr}
    values = list(value) if element.VM > 1 and not isinstance(value, str | bytes) else [value]
    converted = [_value(vr, item) for item in values]
    return {"vr": vr, "Value": converted} if any(item is not None for item in converted) else {"vr": vr}


def _settled(element: DataElement) -> str:
    """The VR of an element the dictionary gives two of (``US or SS``), by what its value turned out to be."""
    if isinstance(element.value, bytes):
        return "OW" if "OW" in element.VR else "UN"
    values = element.value if isinstance(element.value, list) else [element.value]
    return "SS" if any(isinstance(v, int) and v < 0 for v in values) else "US"


def _value(vr: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if vr == "PN":
        groups = [str(group) for group in value.components]
        names = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False))
        return {key: name for key, name in names.items() if name} or None
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in _INTEGERS:
        return int(value)
    if vr in _FLOATS:
        number = float(value)
        return number if math.isfinite(number) else ("NaN" if math.isnan(number) else f"{'-' * (number < 0)}Infinity")
    return str(value).replace("\0", "")
