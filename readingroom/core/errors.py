"""The few errors Reading Room raises on purpose.

Each says what happened and, where there is something to do about it, what to do. No message ever holds a
patient's name or identifier: these texts reach logs, HTTP bodies and DIMSE status comments.
"""


class ReadingRoomError(Exception):
    """Base of all expected errors. ``code`` is a stable machine-readable word, ``hint`` says what to do."""

    code = "error"

    def __init__(self, message: str, hint: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadInput(ReadingRoomError):
    """The caller's data cannot be used: truncated, not DICOM, out of range, hostile."""

    code = "bad-input"


class NotFound(ReadingRoomError):
    """What was asked for is not here (or the asker may not know that it is)."""

    code = "not-found"


class Conflict(ReadingRoomError):
    """The request does not fit the present state, e.g. signing a revision that is no longer the current one."""

    code = "conflict"


class Forbidden(ReadingRoomError):
    """The account, token or calling AE lacks the permission."""

    code = "forbidden"


class Unsupported(ReadingRoomError):
    """Valid, but not handled yet (enhanced multi-frame, uneven tilt): refused with its reason, never misread."""

    code = "unsupported"


class KeyMissing(ReadingRoomError):
    """Something was sealed with a key that is not here any more, or was changed since."""

    code = "key-missing"


class OutOfResources(ReadingRoomError):
    """Disk full or over a limit. Nothing was acknowledged."""

    code = "out-of-resources"
