"""What is audited, as one table: each action with its code of PS3.15 A.5. ``docs/audit.md`` shows it.

A test walks every call of ``record`` in the code and holds it to this table. Columns: the action as it is recorded;
the event identifier; how (Create, Read, Update, Delete, Execute); the type of event where DICOM has one (PS3.16
CID 401 and 403); what the actor is: who acts, or one end of a transfer; and the words the pages show.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from readingroom.core.audit import AuditCode

End = Literal["actor", "source", "destination"]


@dataclass(frozen=True)
class Action:
    """One line of the table."""

    name: str
    code: AuditCode
    how: Literal["C", "R", "U", "D", "E"]
    type: str
    actor: End
    words: str


_C = AuditCode
_ACTIONS: Final[tuple[tuple[str, AuditCode, str, str, str, str], ...]] = (
    # Processes
    ("process-started", _C.APPLICATION_ACTIVITY, "E", "110120", "actor", "process started"),
    ("process-stopped", _C.APPLICATION_ACTIVITY, "E", "110121", "actor", "process stopped"),
    # The audit itself
    ("audit-patient", _C.AUDIT_LOG_USED, "R", "", "actor", "looked up who saw a patient"),
    ("audit-person", _C.AUDIT_LOG_USED, "R", "", "actor", "looked up what somebody did"),
    ("audit-fhir", _C.AUDIT_LOG_USED, "R", "", "actor", "read the audit by FHIR"),
    ("audit-exported", _C.AUDIT_LOG_USED, "R", "", "actor", "exported the audit"),
    ("audit-verified", _C.AUDIT_LOG_USED, "R", "", "actor", "verified the audit"),
    ("audit-altered", _C.SECURITY_ALERT, "E", "110135", "actor", "found the audit altered"),
    # Images in
    ("association", _C.NETWORK_ENTRY, "E", "110124", "actor", "opened a DICOM association"),
    ("A-ASSOCIATE", _C.SECURITY_ALERT, "E", "110126", "actor", "was refused a DICOM association"),
    ("C-STORE-begun", _C.BEGIN_TRANSFERRING, "E", "", "source", "began to send images"),
    ("C-STORE", _C.INSTANCES_TRANSFERRED, "C", "", "source", "sent images"),
    ("stow", _C.INSTANCES_TRANSFERRED, "C", "", "source", "sent images by DICOMweb"),
    ("import", _C.IMPORT, "C", "", "actor", "imported images"),
    ("quarantined", _C.SECURITY_ALERT, "E", "110132", "actor", "sent what went to quarantine"),
    ("quarantine-resolved", _C.SECURITY_ALERT, "E", "110135", "actor", "dealt with what was in quarantine"),
    ("study-held", _C.SECURITY_ALERT, "E", "110135", "actor", "sent images of two patients in one study: held"),
    ("study-released", _C.PATIENT_RECORD, "U", "", "actor", "sent what ended the hold of a study"),
    ("images-rejected", _C.STUDY_DELETED, "D", "", "actor", "hid images by a rejection note"),
    ("store-sealed", _C.SECURITY_ALERT, "E", "110129", "actor", "sealed the store"),
    ("store-keys-rotated", _C.SECURITY_ALERT, "E", "110129", "actor", "rotated the keys of the store"),
    ("expected", _C.PATIENT_RECORD, "U", "", "actor", "said how many images the study is to have"),
    # Reading and reporting
    ("ready-requested", _C.PATIENT_RECORD, "U", "", "actor", "said that all images are here"),
    ("reread-requested", _C.PATIENT_RECORD, "U", "", "actor", "had readers read again"),
    ("verdict.accept", _C.PATIENT_RECORD, "C", "", "actor", "accepted a finding"),
    ("verdict.edit", _C.PATIENT_RECORD, "U", "", "actor", "changed a finding"),
    ("verdict.reject", _C.PATIENT_RECORD, "C", "", "actor", "rejected a finding"),
    ("verdict.add", _C.PATIENT_RECORD, "C", "", "actor", "added a finding"),
    ("verdict.withdraw", _C.PATIENT_RECORD, "U", "", "actor", "took a verdict back"),
    ("verdict.no-further-findings", _C.PATIENT_RECORD, "C", "", "actor", "said that there are no further findings"),
    ("verdict.context", _C.PATIENT_RECORD, "C", "", "actor", "said what tables ask about the patient"),
    ("task-done", _C.PATIENT_RECORD, "U", "", "actor", "ticked off a task"),
    ("urgent-raised", _C.PATIENT_RECORD, "C", "", "actor", "raised an alert of an urgent finding"),
    ("urgent-shown", _C.PATIENT_RECORD, "R", "", "actor", "was shown an alert of an urgent finding"),
    ("urgent-acknowledged", _C.PATIENT_RECORD, "U", "", "actor", "acknowledged an urgent finding"),
    ("urgent-escalated", _C.PATIENT_RECORD, "U", "", "actor", "took an unacknowledged alert further"),
    ("urgent-closed", _C.PATIENT_RECORD, "U", "", "actor", "ended the alert of an urgent finding"),
    ("urgent-sent", _C.PATIENT_RECORD, "R", "", "destination", "was sent an alert of an urgent finding"),
    ("report.redraft", _C.PATIENT_RECORD, "U", "", "actor", "had the report drafted anew"),
    ("report.save", _C.PATIENT_RECORD, "U", "", "actor", "changed the report"),
    ("report.sign", _C.PATIENT_RECORD, "U", "", "actor", "signed the report"),
    ("report.addendum", _C.PATIENT_RECORD, "C", "", "actor", "added to the signed report"),
    # Images out
    ("study-opened", _C.INSTANCES_ACCESSED, "R", "", "actor", "opened the study"),
    ("wado", _C.INSTANCES_ACCESSED, "R", "", "actor", "retrieved images by DICOMweb"),
    ("report-pdf", _C.EXPORT, "R", "", "actor", "took the report as PDF"),
    ("report.written", _C.BEGIN_TRANSFERRING, "E", "", "source", "queued the report's objects for its destinations"),
    ("deliver-begun", _C.BEGIN_TRANSFERRING, "E", "", "destination", "was about to be sent objects"),
    ("deliver", _C.INSTANCES_TRANSFERRED, "R", "", "destination", "was sent objects"),
    # Consent
    ("consent-given", _C.PATIENT_RECORD, "C", "", "actor", "wrote down that the patient allows a use"),
    ("consent-refused", _C.PATIENT_RECORD, "C", "", "actor", "wrote down that the patient refuses a use"),
    ("consent-withdrawn", _C.PATIENT_RECORD, "U", "", "actor", "wrote down that the patient takes a permission back"),
    ("consent-expired", _C.PATIENT_RECORD, "U", "", "actor", "noted that a permission has ended"),
    ("consent-read", _C.PATIENT_RECORD, "R", "", "actor", "looked at what the patient allows"),
    ("purpose-asked", _C.PATIENT_RECORD, "R", "", "actor", "asked whether data may be used for a purpose"),
    ("data-used", _C.PATIENT_RECORD, "R", "", "actor", "used patients' data for a purpose"),
    ("data-removed", _C.PATIENT_RECORD, "D", "", "actor", "took the patient out of what was made of their data"),
    # Cohorts
    ("cohort-added", _C.PATIENT_RECORD, "C", "", "actor", "made a cohort"),
    ("cohort-frozen", _C.PATIENT_RECORD, "C", "", "actor", "froze who is in a cohort"),
    ("labels-frozen", _C.PATIENT_RECORD, "C", "", "actor", "froze the labels of a cohort"),
    ("cohort-evaluated", _C.PATIENT_RECORD, "R", "", "actor", "measured a reader on the locked test part of a cohort"),
    ("cohort-exported", _C.EXPORT, "R", "", "actor", "took the members and open labels of a cohort"),
    # Looking for studies
    ("worklist-shown", _C.QUERY, "E", "", "source", "looked at the worklist"),
    ("worklist-search", _C.QUERY, "E", "", "source", "searched the worklist"),
    ("qido", _C.QUERY, "E", "", "source", "searched by DICOMweb"),
    # Who may see a study
    ("access-denied", _C.SECURITY_ALERT, "E", "110132", "actor", "was refused"),
    ("glass-broken", _C.SECURITY_ALERT, "E", "110127", "actor", "broke the glass of a study"),
    ("study-restricted", _C.SECURITY_ALERT, "E", "110135", "actor", "restricted a study to named people"),
    ("study-opened-up", _C.SECURITY_ALERT, "E", "110135", "actor", "let the project see a study again"),
    ("study-filed", _C.SECURITY_ALERT, "E", "110135", "actor", "moved a study to a project"),
    ("project-created", _C.SECURITY_ALERT, "E", "110136", "actor", "made a project"),
    ("memberships-changed", _C.SECURITY_ALERT, "E", "110136", "actor", "changed who is in which project"),
    ("alert-acknowledged", _C.SECURITY_ALERT, "E", "110129", "actor", "acknowledged an alert"),
    # Readers
    ("model-changed", _C.SECURITY_ALERT, "E", "110129", "actor", "added a reader version or changed its state"),
    ("drift-restarted", _C.SECURITY_ALERT, "E", "110129", "actor", "began a reader's baselines anew"),
    # Signing in
    ("sign-in-web", _C.USER_AUTHENTICATION, "E", "110122", "actor", "signed in by password"),
    ("sign-in-basic", _C.USER_AUTHENTICATION, "E", "110122", "actor", "signed in by HTTP Basic"),
    ("sign-in-first-factor", _C.USER_AUTHENTICATION, "E", "110122", "actor", "gave a password, a code is owed"),
    ("sign-in-second-factor", _C.USER_AUTHENTICATION, "E", "110122", "actor", "signed in by password and code"),
    ("sign-in-passkey", _C.USER_AUTHENTICATION, "E", "110122", "actor", "signed in by passkey"),
    ("sign-in-oidc", _C.USER_AUTHENTICATION, "E", "110122", "actor", "signed in at the OpenID provider"),
    ("sign-in-proof", _C.USER_AUTHENTICATION, "E", "110122", "actor", "proved again who they are"),
    ("sign-out", _C.USER_AUTHENTICATION, "E", "110123", "actor", "signed out"),
    ("session-ended", _C.USER_AUTHENTICATION, "E", "110123", "actor", "ended a session"),
    ("sign-in-limited-web", _C.SECURITY_ALERT, "E", "110132", "actor", "tried too often to sign in"),
    ("sign-in-limited-basic", _C.SECURITY_ALERT, "E", "110132", "actor", "tried too often to sign in by HTTP Basic"),
    ("sign-in-limited-proof", _C.SECURITY_ALERT, "E", "110132", "actor", "tried too often to prove who they are"),
    ("second-factor-limited", _C.SECURITY_ALERT, "E", "110132", "actor", "tried too many codes"),
    ("passkey-counter-fell", _C.SECURITY_ALERT, "E", "110126", "actor", "used a passkey that may be copied"),
    # Accounts
    ("set-up-offered", _C.SECURITY_ALERT, "E", "110129", "actor", "printed the link for the first administrator"),
    ("set-up-refused", _C.SECURITY_ALERT, "E", "110132", "actor", "was refused the first administrator's account"),
    ("account-created", _C.SECURITY_ALERT, "E", "110137", "actor", "made an account"),
    ("account-changed", _C.SECURITY_ALERT, "E", "110137", "actor", "changed an account"),
    ("account-disabled", _C.SECURITY_ALERT, "E", "110137", "actor", "disabled an account"),
    ("role-changed", _C.SECURITY_ALERT, "E", "110136", "actor", "changed an account's role"),
    ("password-changed", _C.SECURITY_ALERT, "E", "110137", "actor", "changed a password"),
    ("second-factor-on", _C.SECURITY_ALERT, "E", "110137", "actor", "set up an authenticator app"),
    ("second-factor-off", _C.SECURITY_ALERT, "E", "110137", "actor", "removed an authenticator app"),
    ("recovery-codes-made", _C.SECURITY_ALERT, "E", "110137", "actor", "made recovery codes"),
    ("factors-forgotten", _C.SECURITY_ALERT, "E", "110137", "actor", "removed somebody's lost second factors"),
    ("passkey-added", _C.SECURITY_ALERT, "E", "110137", "actor", "added a passkey"),
    ("passkey-removed", _C.SECURITY_ALERT, "E", "110137", "actor", "removed a passkey"),
    ("token-created", _C.SECURITY_ALERT, "E", "110137", "actor", "made an API token"),
    ("token-revoked", _C.SECURITY_ALERT, "E", "110137", "actor", "revoked an API token"),
)


@cache
def actions() -> dict[str, Action]:
    """Return the table by the actions' names."""
    return {
        name: Action(name, code, how, kind, actor, words)  # type: ignore[arg-type]
        for name, code, how, kind, actor, words in _ACTIONS
    }


CODES: Final = {
    _C.APPLICATION_ACTIVITY: "Application Activity",
    _C.AUDIT_LOG_USED: "Audit Log Used",
    _C.BEGIN_TRANSFERRING: "Begin Transferring DICOM Instances",
    _C.INSTANCES_ACCESSED: "DICOM Instances Accessed",
    _C.INSTANCES_TRANSFERRED: "DICOM Instances Transferred",
    _C.STUDY_DELETED: "DICOM Study Deleted",
    _C.EXPORT: "Export",
    _C.IMPORT: "Import",
    _C.NETWORK_ENTRY: "Network Entry",
    _C.PATIENT_RECORD: "Patient Record",
    _C.QUERY: "Query",
    _C.SECURITY_ALERT: "Security Alert",
    _C.USER_AUTHENTICATION: "User Authentication",
}
"""Meanings of the event identifiers (PS3.16 CID 400)."""

TYPES: Final = {
    "110120": "Application Start",
    "110121": "Application Stop",
    "110122": "Login",
    "110123": "Logout",
    "110124": "Attach",
    "110126": "Node Authentication",
    "110127": "Emergency Override Started",
    "110129": "Security Configuration",
    "110132": "Use of Restricted Function",
    "110135": "Object Security Attributes Changed",
    "110136": "Security Roles Changed",
    "110137": "User Security Attributes Changed",
}
"""Meanings of the types of event (PS3.16 CID 401 and 403)."""

OUTCOMES: Final = {"success": "0", "failure": "4", "refused": "8", "compromised": "12"}
"""Outcome as it is recorded -> EventOutcomeIndicator (PS3.15 table A.5.2-1)."""
