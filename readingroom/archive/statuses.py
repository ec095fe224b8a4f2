"""What each outcome of receiving answers to a sender, as one table: DIMSE status, STOW-RS failure reason, meaning.

A sender repeats what failed. So: what will never succeed gets a *failure* that standard clients treat as final
(0111H, A702H, A9xx, Cxxx: PS3.4 table B.2-1, PS3.7 annex C), and what may succeed later gets A700H (out of resources),
which they retry. Identical bytes sent again are a success, or the sender would never stop. Failure reasons of
STOW-RS are those of PS3.18 table I.2-2.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """``dimse``: C-STORE status. ``stow``: Failure Reason (0008,1197), 0 for a success. ``again``: worth a retry."""

    dimse: int
    stow: int
    again: bool
    meaning: str


SUCCESS = Answer(0x0000, 0, False, "Stored durably.")

ANSWERS: dict[str, Answer] = {
    "stored": SUCCESS,
    "duplicate": Answer(0x0000, 0, False, "The same bytes are already stored; nothing changed."),
    "corrected": Answer(0x0000, 0, False, "Same pixels, changed header: kept as a new version, the old one remains."),
    "rejected-note": Answer(0x0000, 0, False, "A rejection note: stored, the images it names are hidden."),
    # Quarantined: the bytes are kept with their reason, sending them again gives the same answer.
    "pixels-differ": Answer(0x0111, 0x0111, False, "The SOP Instance UID is taken by an image with other pixels."),
    "uid-conflict": Answer(0x0111, 0x0111, False, "The SOP Instance UID is taken in another study or series."),
    "own-object": Answer(0x0111, 0x0111, False, "The SOP Instance UID is that of an object Reading Room wrote."),
    "other-project": Answer(0x0124, 0x0124, False, "The study belongs to a project this sender may not store into."),
    "mismatch": Answer(0xA900, 0xA900, False, "The data set and the command name different SOP classes or instances."),
    "not-dicom": Answer(0xC000, 0xC000, False, "Not DICOM, or the transfer syntax named is not the one used."),
    "empty": Answer(0xC000, 0xC000, False, "There are no bytes."),
    "truncated": Answer(0xC001, 0xC001, False, "The data ends before its elements do."),
    "missing-tag": Answer(0xC002, 0xC002, False, "An identifier every instance needs is missing."),
    "bad-uid": Answer(0xC003, 0xC003, False, "An identifier is not a valid UID."),
    "unsupported": Answer(0xC004, 0xC122, False, "The transfer syntax is unknown, or the data inflates without end."),
    # Refused: nothing was kept.
    "out-of-resources": Answer(0xA700, 0xA700, True, "No room on the disk, or the index is busy: send again later."),
    "too-large": Answer(0xA702, 0xA700, False, "Larger than max_object_bytes."),
    "failed": Answer(0x0110, 0x0110, True, "An unexpected failure; the log tells more."),
}
"""Outcome, or the code of a quarantine or refusal -> what the sender is told."""
