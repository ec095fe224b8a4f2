"""FHIR Consent: what each form of it says here, what is refused and where, and that what we write we also read."""

import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from readingroom.access.consent import Kind
from readingroom.access.fhir_consent import (
    ACT_REASON,
    CODE_OF_PURPOSE,
    PatientIdentifier,
    Unmappable,
    Version,
    read_consent,
    write_consent,
)
from readingroom.access.tables import ConsentRow
from readingroom.core.purposes import Purpose

ZONE = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SUBJECT = {"identifier": {"system": "urn:oid:1.2.3", "value": "P-7"}}


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=ZONE)


def codes(*values: str) -> list[dict[str, str]]:
    return [{"system": ACT_REASON, "code": value} for value in values]


def r5(*purposes: str, **changes: Any) -> dict[str, Any]:
    """A consent that denies all but these purposes: in R5 a provision is an exception."""
    consent = {
        "resourceType": "Consent",
        "identifier": [{"value": "F-17"}],
        "status": "active",
        "subject": SUBJECT,
        "date": "2026-03-01",
        "decision": "deny",
        "provision": [{"purpose": codes(*purposes or ("HRESCH",))}],
    }
    return {name: value for name, value in (consent | changes).items() if value is not None}


def r4(provision: dict[str, Any] | None, **changes: Any) -> dict[str, Any]:
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research"}]},
        "category": [{"text": "research"}],
        "patient": SUBJECT,
        "dateTime": "2026-03-01T09:30:00+01:00",
        "provision": provision,
    }
    return {name: value for name, value in (consent | changes).items() if value is not None}


def read(resource: Any, version: Version = "5.0") -> Any:
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    return read_consent(body, version, ZONE, NOW)


def refused(resource: Any, version: Version = "5.0") -> list[tuple[str, str]]:
    with pytest.raises(Unmappable) as error:
        read(resource, version)
    assert "P-7" not in str(error.value)
    return [(problem.where, problem.code) for problem in error.value.problems]


def test_an_exception_from_no_is_a_yes() -> None:
    received = read(r5("HRESCH", "MLTRAINING"))
    assert received.patient == PatientIdentifier("P-7", "urn:oid:1.2.3")
    (said,) = received.statements
    assert (said.kind, said.purposes) == (Kind.GIVEN, (Purpose.RESEARCH, Purpose.TRAINING))
    assert (said.reference, said.source, said.basis) == ("F-17", "fhir", "consent")
    assert said.starts_at == datetime(2026, 3, 1, tzinfo=ZONE)
    assert said.ends_at is None


def test_an_exception_from_yes_is_a_no() -> None:
    (said,) = read(r5("HRESCH", decision="permit")).statements
    assert said.kind is Kind.REFUSED


@pytest.mark.parametrize("status", ["inactive", "entered-in-error"])
def test_a_consent_that_is_over_is_a_withdrawal(status: str) -> None:
    (said,) = read(r5("HRESCH", status=status)).statements
    assert said.kind is Kind.WITHDRAWN
    assert refused(r5("HRESCH", status=status, decision="permit")) == [("Consent.provision[0]", "not-supported")]


@pytest.mark.parametrize(
    ("code", "purpose"),
    [
        ("TREAT", Purpose.CARE), ("TREATDS", Purpose.CARE), ("HRESCH", Purpose.RESEARCH),
        ("CLINTRCH", Purpose.RESEARCH), ("MLTRAINING", Purpose.TRAINING), ("TRAIN", Purpose.TEACHING),
    ],
)  # fmt: skip
def test_codes_of_purposes(code: str, purpose: Purpose) -> None:
    assert read(r5(code)).statements[0].purposes == (purpose,)


def test_we_write_the_general_code_of_each_purpose() -> None:
    assert {purpose: CODE_OF_PURPOSE[purpose] for purpose in Purpose} == {
        Purpose.CARE: "TREAT", Purpose.RESEARCH: "HRESCH", Purpose.TRAINING: "MLTRAINING", Purpose.TEACHING: "TRAIN",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("period", "starts", "ends"),
    [
        ({"start": "2026-02-01", "end": "2027-01-31"}, day(2026, 2, 1), day(2027, 2, 1)),
        ({"start": "2026-02", "end": "2026-12"}, day(2026, 2, 1), day(2027, 1, 1)),
        ({"end": "2028"}, day(2026, 3, 1), day(2029, 1, 1)),
        (
            {"start": "2026-02-01T08:00:00Z", "end": "2026-02-01T10:00:00Z"},
            datetime(2026, 2, 1, 8, tzinfo=UTC), datetime(2026, 2, 1, 10, tzinfo=UTC),
        ),
    ],
)  # fmt: skip
def test_periods(period: dict[str, str], starts: datetime, ends: datetime) -> None:
    for consent in (r5(period=period), r5(provision=[{"purpose": codes("HRESCH"), "period": period}])):
        (said,) = read(consent).statements
        assert (said.starts_at, said.ends_at) == (starts, ends)


def test_a_consent_of_today_counts_from_now() -> None:
    """Else a withdrawal of this morning would go before the consent that follows it."""
    assert read(r5(date="2026-03-10")).statements[0].starts_at is None
    assert read(r5(date=None)).statements[0].starts_at is None


def test_a_refusal_has_no_end_here() -> None:
    (said,) = read(r5(decision="permit", period={"end": "2027-01-01"})).statements
    assert said.ends_at is None


def test_r4b_says_it_in_the_provision() -> None:
    for kind, wanted in (("permit", Kind.GIVEN), ("deny", Kind.REFUSED)):
        (said,) = read(r4({"type": kind, "purpose": codes("HRESCH")}), "4.3").statements
        assert (said.kind, said.purposes) == (wanted, (Purpose.RESEARCH,))
        assert said.starts_at == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    nested = {"type": "deny", "provision": [{"type": "permit", "purpose": codes("HRESCH", "TRAIN")}]}
    (said,) = read(r4(nested), "4.3").statements
    assert (said.kind, said.purposes) == (Kind.GIVEN, (Purpose.RESEARCH, Purpose.TEACHING))


PURPOSE = codes("HRESCH")
PERMIT = {"type": "permit", "purpose": PURPOSE}
FIRST = "Consent.provision[0]"


def with_(**more: Any) -> dict[str, Any]:
    """A consent whose one provision says more than its purpose."""
    return r5(provision=[{"purpose": PURPOSE, **more}])


@pytest.mark.parametrize(
    ("resource", "version", "where"),
    [
        (b"{", "5.0", "Consent."),
        (b"", "5.0", "Consent."),
        ({"resourceType": "Patient"}, "5.0", "Consent.resource_type"),
        (r5(surprise=1), "5.0", "Consent.surprise"),
        (r5(status=None), "5.0", "Consent.status"),
        (r5(status="draft"), "5.0", "Consent.status"),
        (r5(decision=None), "5.0", "Consent.decision"),
        (r5(decision="maybe"), "5.0", "Consent.decision"),
        (r5(provision=None), "5.0", "Consent.provision"),
        (r5(subject=None), "5.0", "Consent.subject.identifier"),
        (r5(subject={"reference": "Patient/1"}), "5.0", "Consent.subject.identifier"),
        (r5(subject={"identifier": {"value": "x" * 65}}), "5.0", "Consent.subject.identifier"),
        (r5(grantee=[{"display": "Another hospital"}]), "5.0", "Consent.grantee"),
        (r5(implicitRules="http://example.org/rules"), "5.0", "Consent.implicitRules"),
        (r5("HPAYMT"), "5.0", "Consent.provision[0].purpose[0]"),
        (with_(purpose=[{"system": "urn:other", "code": "HRESCH"}]), "5.0", f"{FIRST}.purpose[0]"),
        (r5(provision=[{"period": {"end": "2027"}}]), "5.0", "Consent.provision[0].purpose"),
        (with_(actor=[{"role": {"text": "x"}}]), "5.0", f"{FIRST}.actor"),
        (with_(code=[{"text": "x"}]), "5.0", f"{FIRST}.code"),
        (with_(securityLabel=[{"code": "R"}]), "5.0", f"{FIRST}.securityLabel"),
        (with_(dataPeriod={"start": "2020"}), "5.0", f"{FIRST}.dataPeriod"),
        (with_(provision=[{"purpose": PURPOSE}]), "5.0", f"{FIRST}.provision"),
        (with_(modifierExtension=[{"url": "http://x", "valueBoolean": True}]), "5.0", f"{FIRST}.modifierExtension"),
        (r5(provision=[{"purpose": PURPOSE}, {"purpose": PURPOSE}]), "5.0", "Consent.provision"),
        (r4(None), "4.3", "Consent.provision"),
        (r4({"purpose": PURPOSE}), "4.3", "Consent.provision.type"),
        (r4({**PERMIT, "class": [{"code": "x"}]}), "4.3", "Consent.provision.class"),
        (r4({**PERMIT, "provision": [{"type": "deny", "purpose": codes("TRAIN")}]}), "4.3", "Consent.provision"),
        (r4({"provision": [{**PERMIT, "provision": [PERMIT]}]}), "4.3", "Consent.provision.provision[0].provision"),
        (r5(), "4.3", "Consent.category"),
        (r4(PERMIT), "5.0", "Consent.dateTime"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_to_the_letter_is_refused_with_its_place(
    resource: Any, version: Version, where: str
) -> None:
    assert where in [place for place, _ in refused(resource, version)]


def test_what_we_write_we_read_again() -> None:
    later = NOW.replace(year=2027)
    rows = [
        ConsentRow(
            id=n, act="a1", patient_id=7, purpose=purpose, kind="given", basis="consent", reference="F-17",
            source="hand", actor="rada", starts_at=NOW, ends_at=ends, recorded_at=NOW,
        )
        for n, (purpose, ends) in enumerate([("research", None), ("training", later), ("teaching", None)])
    ]  # fmt: skip
    patient = PatientIdentifier("P-7", "urn:oid:1.2.3")
    resource = write_consent(rows, patient, holds=True)
    assert (resource["status"], resource["decision"]) == ("active", "deny")
    received = read(resource)
    assert received.patient == patient
    assert [(said.kind, said.purposes, said.starts_at, said.ends_at) for said in received.statements] == [
        (Kind.GIVEN, (Purpose.RESEARCH, Purpose.TEACHING), NOW, None),
        (Kind.GIVEN, (Purpose.TRAINING,), NOW, later),
    ]
    for row in rows:
        row.kind = "withdrawn"
    assert {said.kind for said in read(write_consent(rows, patient, holds=True)).statements} == {Kind.REFUSED}
    assert "system" not in write_consent(rows, PatientIdentifier("P-7"), holds=False)["subject"]["identifier"]
