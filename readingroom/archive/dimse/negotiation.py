"""What an association request is answered with: who may call, which contexts, which transfer syntax.

Every storage SOP class for patients' objects is accepted, with every transfer syntax whose data set is a stream of
DICOM elements; the first one the peer proposes wins, so that bytes are kept as the sender has them. Private SOP
classes and other services are refused context by context (result 3), private transfer syntaxes with result 4, and
what a caller may not do with result 1.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

from pydicom._uid_dict import UID_dictionary

from readingroom.archive.dimse.pdu import (
    APPLICATION_CONTEXT,
    AssociateRequest,
    ContextResult,
    RoleSelection,
)
from readingroom.archive.dimse.permissions import DIMSE_PERMISSIONS
from readingroom.core.config import Caller, Settings
from readingroom.core.permissions import Role, allowed

VERIFICATION: Final = "1.2.840.10008.1.1"
_STORAGE_ROOT: Final = re.compile(r"1\.2\.840\.10008\.5\.1\.4\.1\.1(\.[1-9][0-9]{0,9}){1,4}")
# Named "Storage", but there is no patient's object behind them (PS3.4 annex GG: non-patient objects; media).
_NOT_PATIENTS: Final = frozenset(
    {
        "1.2.840.10008.1.3.10",
        "1.2.840.10008.1.20.1",
        "1.2.840.10008.1.20.2",
        "1.2.840.10008.5.1.1.27",
        "1.2.840.10008.5.1.4.1.1.200.1",
        "1.2.840.10008.5.1.4.1.1.200.3",
        "1.2.840.10008.5.1.4.1.1.200.7",
        "1.2.840.10008.5.1.4.1.1.201.1",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
    }
)
# Transfer syntaxes whose data set is not a plain stream of elements (MIME, XML, Papyrus) or is a network stream.
_NOT_STREAMS: Final = ("1.2.840.10008.1.2.6.", "1.2.840.10008.1.20", "1.2.840.10008.1.2.7.")

STORAGE_CLASSES: Final[frozenset[str]] = frozenset(
    uid
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind == "SOP Class" and "Storage" in name and uid not in _NOT_PATIENTS
)
TRANSFER_SYNTAXES: Final[frozenset[str]] = frozenset(
    uid
    for uid, (_, kind, *_) in UID_dictionary.items()
    if kind == "Transfer Syntax" and not uid.startswith(_NOT_STREAMS)
)


def is_storage_class(uid: str) -> bool:
    """Whether ``uid`` is a storage SOP class of DICOM's, also one newer than the dictionary (same root, not in it)."""
    if uid in STORAGE_CLASSES:
        return True
    return uid not in UID_dictionary and _STORAGE_ROOT.fullmatch(uid) is not None


@dataclass(frozen=True)
class Accepted:
    """``project``: where the caller's new studies go, by name; empty means the default."""

    contexts: tuple[ContextResult, ...]
    roles: tuple[RoleSelection, ...]
    project: str = ""


@dataclass(frozen=True)
class Rejected:
    """Values of A-ASSOCIATE-RJ (PS3.8 table 9-21) and the reason in words, for the log and the audit."""

    result: int
    source: int
    reason: int
    words: str


LOCAL_LIMIT: Final = Rejected(2, 3, 2, "too many associations")
STOPPING: Final = Rejected(2, 3, 1, "shutting down")


def negotiate(
    request: AssociateRequest, settings: Settings, host: str, certificate_names: Collection[str] = ()
) -> Accepted | Rejected:
    """Decide on a request from ``host``, which has shown a certificate with these names (none without TLS).

    Titles are compared without padding and with case, as PS3.5 has them.
    """
    if not request.protocol_version & 1:
        return Rejected(1, 2, 2, "protocol version not supported")
    if request.application_context != APPLICATION_CONTEXT:
        return Rejected(1, 1, 2, "application context not supported")
    if request.called_aet != settings.aet.strip():
        return Rejected(1, 1, 7, "called AE title not recognised")
    caller = _caller(request.calling_aet, settings)
    if caller is None:
        return Rejected(1, 1, 3, "calling AE title not recognised")
    if not _calls_from(caller, host):
        return Rejected(1, 1, 3, "calling AE title not recognised at this address")
    if caller.certificate and caller.certificate not in certificate_names:
        return Rejected(1, 1, 3, "calling AE title not recognised with this certificate")
    results = []
    for context in request.contexts:
        known = [uid for uid in context.transfer_syntaxes if uid in TRANSFER_SYNTAXES]
        verb = _verb(context.abstract_syntax)
        if verb is None:
            result, syntax = 3, ""
        elif verb not in caller.verbs or not allowed(Role.SERVICE, DIMSE_PERMISSIONS[verb]):
            result, syntax = 1, ""
        elif not known:
            result, syntax = 4, ""
        else:
            result, syntax = 0, known[0]
        results.append(ContextResult(context.id, result, context.abstract_syntax, syntax or "1.2.840.10008.1.2"))
    # We only ever provide: a requestor may be the user of what it proposes, and not the provider.
    accepted = {result.abstract_syntax for result in results if result.result == 0}
    roles = tuple(
        RoleSelection(role.sop_class_uid, role.scu, False) for role in request.roles if role.sop_class_uid in accepted
    )
    return Accepted(tuple(results), roles, caller.project)


def _caller(aet: str, settings: Settings) -> Caller | None:
    listed = next((caller for caller in settings.calling_aets if caller.aet == aet), None)
    return listed or (Caller(aet=aet or "?") if settings.dicom_open else None)


def _calls_from(caller: Caller, host: str) -> bool:
    return not caller.hosts or any(ip_address(host) in network for network in caller.hosts)


def _verb(abstract_syntax: str) -> Literal["C-ECHO", "C-STORE"] | None:
    """Return the verb that a context is for; an AE title that may not use it gets the context refused."""
    if abstract_syntax == VERIFICATION:
        return "C-ECHO"
    return "C-STORE" if is_storage_class(abstract_syntax) else None
