"""Attribute matching (PS3.4 C.2.2.2) as SQL conditions with bound parameters: single value, list of UIDs, wildcard,
range; person names without regard to case, and by the beginnings of their components when fuzzy.
"""

import re
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_

from readingroom.archive.attributes import Attribute

_ESCAPE = "\\"
_SPECIAL = re.compile(r"([\\%_])")
_PARTS = re.compile(r"[\s^=,*?]+")


def match(attribute: Attribute, value: str, *, fuzzy: bool = False) -> ColumnElement[bool] | None:
    """Return the condition for one attribute; None matches everything (an empty value, or ``*``)."""
    # PostgreSQL refuses NUL; no value holds one.
    value = value.replace("\0", "").strip()
    column = attribute.column
    if value in ("", "*"):
        return None
    if attribute.kind == "uid":
        return column.in_([uid for uid in re.split(r"[,\\\s]+", value) if uid])
    if attribute.kind in ("date", "time"):
        return _range(column, value, attribute.kind)
    if attribute.kind == "integer":
        try:
            number = int(value)
        except ValueError:
            return false()
        return column == number if abs(number) < 2**31 else false()
    if attribute.kind == "name":
        return _name(column, value, fuzzy)
    # Several values of a multi-valued key, as some clients send modalities.
    parts = [part for part in value.split("\\") if part] if attribute.vr == "CS" else [value]
    return or_(*(_text(column, part) for part in parts))


def _text(column: Any, value: str) -> ColumnElement[bool]:
    if "*" in value or "?" in value:
        return column.like(_pattern(value), escape=_ESCAPE)
    return column == value


def _name(column: Any, value: str, fuzzy: bool) -> ColumnElement[bool]:
    lowered = func.lower(column)
    value = value.lower()
    if fuzzy:
        # Every word must begin some component of the name.
        words = [_SPECIAL.sub(r"\\\1", word) for word in _PARTS.split(value) if word]
        return and_(
            *(
                or_(*(lowered.like(f"{before}{word}%", escape=_ESCAPE) for before in ("", "%^", "%=", "% ")))
                for word in words
            )
        )
    if "*" in value or "?" in value:
        pattern = _pattern(value)
        return or_(lowered.like(pattern, escape=_ESCAPE), lowered.like(f"%={pattern}", escape=_ESCAPE))
    literal = _SPECIAL.sub(r"\\\1", value.rstrip("^"))
    # One component group of several may match; trailing empty components say nothing.
    return or_(
        lowered == value,
        lowered == value.rstrip("^"),
        lowered.like(f"{literal}=%", escape=_ESCAPE),
        lowered.like(f"%={literal}", escape=_ESCAPE),
        lowered.like(f"%={literal}=%", escape=_ESCAPE),
    )


def _pattern(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", value).replace("*", "%").replace("?", "_")


def _range(column: Any, value: str, kind: str) -> ColumnElement[bool]:
    value = value.replace(":", "") if kind == "time" else value
    if "-" not in value:
        # A time matches to the precision it is given in.
        return column == value if kind == "date" else column.like(f"{_SPECIAL.sub(r'', value)}%", escape=_ESCAPE)
    start, _, stop = (part.strip() for part in value.partition("-"))
    conditions = [column != ""]
    if start:
        conditions.append(column >= start)
    if stop:
        # 10:15 as the end of a range holds 10:15:59.
        conditions.append(column <= (stop if kind == "date" else stop + "999999"))
    return and_(*conditions)
