"""Cohorts on both databases: who gets in and why others do not, what never changes, what a withdrawal takes out."""

from pathlib import Path

import pytest
from cohort_support import HALVES, Place, nodule, withdraw
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError
from support import ct_series

from readingroom.access.consent import Kind
from readingroom.access.uses import uses_of
from readingroom.archive.tables import Study
from readingroom.archive.visibility import restrict
from readingroom.core.audit import AuditEvent
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.permissions import Permission, Role
from readingroom.core.purposes import Purpose
from readingroom.learning import cohorts
from readingroom.learning.model import Folder, Query
from readingroom.learning.tables import Cohort, CohortMember, CohortPart, CohortVersion, RemovedMember


def test_who_gets_in_and_why_others_do_not(place: Place) -> None:
    inside = {place.willing("A"), place.willing("B")}
    silent = place.send("C")
    refusing = place.send("D")
    place.say(refusing, Kind.REFUSED)
    held, closed, empty = place.willing("E"), place.willing("F"), place.willing("G")
    place.willing("H", like=list(place.sent))  # the pictures of G, under another name
    rada = place.account("rada", Role.RADIOLOGIST)
    with place.database.write() as session:
        session.execute(update(Study).where(Study.id == held).values(held="two patients"))
        restrict(session, closed, [], rada)
        session.execute(update(Study).where(Study.id == empty).values(revision=0))
    cohort = place.add()
    version = place.freeze(cohort)
    assert version.left_out == {"no-images": 1, "held": 1, "restricted": 1, "no-consent": 2}
    assert len(place.studies(version)) == 3
    assert inside < place.studies(version)
    assert not {silent, refusing, held, closed, empty} & place.studies(version)
    with place.database.read() as session:
        patient = session.get_one(Study, next(iter(inside))).patient_pk
        (use,) = uses_of(session, patient)
        events = session.scalars(select(AuditEvent.action).where(AuditEvent.actor == "command line")).all()
        member = session.scalars(select(CohortMember).where(CohortMember.study_id.in_(inside))).first()
    assert (use.made.room, use.made.what, use.made.ref) == ("learning", "cohort", version.id)
    assert {"cohort-added", "purpose-asked", "cohort-frozen", "data-used"} <= set(events)
    assert member is not None
    assert (member.revision, len(member.sha256), len(member.group)) == (1, 64, 32)


def test_what_a_question_asks(sqlite_place: Place) -> None:
    place = sqlite_place
    old = place.willing("A", StudyDate="20200105")
    new = place.willing("B", StudyDate="20240612", Modality="MR", BodyPartExamined="HEAD")
    undated = place.willing("C", StudyDate="")
    place.read(old)
    place.read(new, nodule("n"))
    with place.database.write() as session:
        for study in session.scalars(select(Study)).unique():
            for series in study.series:
                series.type = {"kind": "ct-volume" if study.id == old else "mr-volume", "region": "chest"}
        session.execute(update(Study).where(Study.id == undated).values(simulated=True))
    questions = {
        "modality": (Query(modality="MR"), {new}),
        "body": (Query(body_part="HEAD"), {new}),
        "kind": (Query(kind="ct-volume"), {old}),
        "region": (Query(region="chest"), {old, new, undated}),
        "one-series": (Query(kind="ct-volume", modality="MR"), set()),
        "from": (Query(from_day="20240612"), {new}),
        "to": (Query(to_day="20240611"), {old}),
        "found": (Query(found_by="tiny"), {new}),
        "signed": (Query(signed=True), set()),
        "unsigned": (Query(signed=False), {old, new, undated}),
        "simulated": (Query(simulated=True), {undated}),
        "real": (Query(simulated=False), {old, new}),
    }
    for name, (query, expected) in questions.items():
        cohort = place.add(name, query)
        if expected:
            assert place.studies(place.freeze(cohort)) == expected, name
        else:
            with pytest.raises(BadInput, match="Nobody"):
                place.freeze(cohort)


def test_a_question_on_both_databases(place: Place) -> None:
    study = place.willing("A")
    with place.database.write() as session:
        for series in session.get_one(Study, study).series:
            series.type = {"kind": "ct-volume", "region": "chest"}
    asked = Query(
        modality="CT", kind="ct-volume", region="chest", from_day="20260101", to_day="20260101", signed=False,
        simulated=False,
    )  # fmt: skip
    assert place.studies(place.freeze(place.add("fits", asked))) == {study}


def test_nobody_moves_and_nothing_frozen_changes(place: Place) -> None:
    for n in range(12):
        place.willing(f"P{n}")
    cohort = place.add()
    first = place.freeze(cohort)
    with pytest.raises(Conflict, match="Nothing has changed since version 1"):
        place.freeze(cohort)
    before = {member.study_id: (member.group, member.part) for member in place.members(first)}
    for n in range(6):
        place.willing(f"P{n}")  # a second study of a patient who is in it
    more = place.freeze(cohort)
    after = {member.study_id: (member.group, member.part) for member in place.members(more)}
    assert (more.number, len(after)) == (2, 18)
    assert all(after[study] == where for study, where in before.items())
    assert len({group for group, _ in after.values()}) == 12
    assert len({part for _, part in after.values()}) > 1
    for table in (Cohort, CohortPart, CohortVersion, CohortMember):
        for statement in (update(table).values(id=table.id), delete(table)):
            with pytest.raises(DBAPIError, match="append-only"), place.database.write() as session:
                session.execute(statement)
    with place.database.read() as session:
        for version in (first, more):
            assert cohorts.is_intact(session, cohort, version)
            changed = [*place.members(version)]
            changed[0].part = "test" if changed[0].part != "test" else "training"
            assert cohorts.digest_of(cohort, version, changed) != version.sha256


def test_the_same_pictures_count_once_and_join_their_patients(place: Place) -> None:
    single = place.willing("A")
    pictures = list(place.sent)
    other_name = place.willing("B", like=pictures)
    own = place.willing("B")
    version = place.freeze(place.add())
    members = {member.study_id: member for member in place.members(version)}
    assert version.left_out == {"duplicate": 1}
    assert set(members) == {single, own}
    assert other_name not in members
    assert members[single].group == members[own].group


def test_the_no_of_one_name_is_the_no_of_the_person(place: Place) -> None:
    """The same pictures under two names, of which one refuses; an empty slice in common is nobody's no."""
    place.willing("A", blank=True)
    other = place.send("B", like=list(place.sent), blank=True)
    place.say(other, Kind.REFUSED)
    unlike = place.willing("C", blank=True)
    version = place.freeze(place.add())
    assert place.studies(version) == {unlike}
    assert version.left_out == {"no-consent": 2}


def test_empty_slices_join_nobody(place: Place) -> None:
    for n in range(4):
        place.willing(f"P{n}", blank=True)
    version = place.freeze(place.add())
    assert len({member.group for member in place.members(version)}) == 4


def test_one_person_in_two_parts_leaves_the_test(place: Place) -> None:
    """Two patients in two parts, of whom a later study shows that they are one."""
    studies, pictures = {}, {}
    for n in range(12):
        studies[f"P{n}"] = place.willing(f"P{n}")
        pictures[f"P{n}"] = list(place.sent)
    cohort = place.add()
    part = {member.study_id: member.part for member in place.members(place.freeze(cohort))}
    trained = next(name for name, study in studies.items() if part[study] == "training")
    tested = next(name for name, study in studies.items() if part[study] == "test")
    bridge = [pictures[trained][0], pictures[tested][0]]
    # One picture of each, under the name of the one in training: all of it was seen, so it is a duplicate.
    place.willing(trained, like=bridge)
    version = place.freeze(cohort)
    assert version.left_out == {"duplicate": 1, "other-part": 1}
    assert studies[trained] in place.studies(version)
    assert studies[tested] not in place.studies(version)


def test_a_withdrawal_takes_the_patient_out_of_every_version(place: Place) -> None:
    leaving, staying = place.willing("A"), place.willing("B")
    cohort = place.add()
    first = place.freeze(cohort)
    with place.database.write() as session:
        patient = session.get_one(Study, leaving).patient_pk
        assert withdraw(session, patient) == [first.id]
    with place.database.write() as session:
        assert withdraw(session, patient) == []
        assert session.scalars(select(RemovedMember)).one()
        assert cohorts.removed_from(session, first) == 1
        assert cohorts.is_intact(session, cohort, first), "what was frozen can still be checked"
        assert cohorts.remove(session, patient, Purpose.RESEARCH) == []
    assert place.studies(first) == {staying}
    place.say(leaving, Kind.WITHDRAWN)
    second = place.freeze(cohort)
    assert (place.studies(second), second.left_out) == ({staying}, {"no-consent": 1})


def test_a_later_revision_is_another_member(sqlite_place: Place) -> None:
    place = sqlite_place
    study = place.willing("A")
    images = list(place.sent)
    cohort = place.add()
    (before,) = place.members(place.freeze(cohort))
    place.send("A", study_uid=images[0].StudyInstanceUID)
    (after,) = place.members(place.freeze(cohort))
    assert (before.study_id, before.revision, after.study_id, after.revision) == (study, 1, study, 2)
    assert before.sha256 != after.sha256
    assert before.part == after.part


def test_only_what_one_sees_in_ones_projects(place: Place) -> None:
    place.project("trial")
    mine = place.willing("A")
    rada, nosy = place.account("rada", Role.RADIOLOGIST), place.account("nosy", Role.RESEARCHER, "trial")
    resident = place.account("resi", Role.RESIDENT)
    cohort = place.add(actor=rada)
    assert place.studies(place.freeze(cohort, rada)) == {mine}
    for actor in (nosy, resident):
        with pytest.raises(NotFound):
            place.freeze(cohort, actor)
        with pytest.raises(NotFound):
            place.add("another", actor=actor)
    with place.database.read() as session:
        assert [c.name for c in cohorts.all_cohorts(session, resident)] == ["lungs"]
        assert cohorts.all_cohorts(session, nosy) == []
        with pytest.raises(NotFound):
            cohorts.find(session, nosy, Permission.COHORT_READ, name="lungs")
    # Nothing of care comes into a cohort of the trial.
    with pytest.raises(BadInput, match="Nobody"):
        place.freeze(place.add("trials", project="trial", actor=nosy), nosy)


def test_what_cannot_be_added(sqlite_place: Place, tmp_path: Path) -> None:
    place = sqlite_place
    place.add()
    rada = place.account("rada", Role.RADIOLOGIST)
    folder = Folder(path=str(tmp_path), basis="ethics-waiver", reference="EC 1")
    for error, values in (
        (Conflict, {"name": "lungs"}),
        (BadInput, {"name": "Lungs of Mr. Doe"}),
        (BadInput, {"purpose": Purpose.CARE}),
        (BadInput, {"definition": folder, "actor": rada}),
        (BadInput, {"definition": folder.model_copy(update={"reference": ""})}),
        (BadInput, {"definition": folder.model_copy(update={"basis": "treatment"})}),
        (NotFound, {"project": "elsewhere"}),
    ):
        with pytest.raises(error):
            place.add(**({"name": "another"} | values))


def test_a_folder(place: Place, tmp_path: Path) -> None:
    """DICOM by the patient it names, other files by the table beside them."""
    folder = tmp_path / "set"
    folder.mkdir()
    for patient in ("A", "B", "NO"):
        for n, ds in enumerate(ct_series(2, patient_id=patient)):
            ds.PixelData = bytes([n + 1, len(patient), ord(patient[0])]) + ds.PixelData[3:]
            ds.save_as(folder / f"{patient}-{n}.dcm", enforce_file_format=True)
    unnamed = ct_series(1, patient_id="")[0]
    unnamed.save_as(folder / "nobody.dcm", enforce_file_format=True)
    for n in range(3):
        (folder / f"cube{n}.npz").write_bytes(b"cube" + bytes([n]))
    (folder / "copy.npz").write_bytes(b"cube\0")
    (folder / "README.txt").write_text("not in the table")
    (folder / "groups.csv").write_text("file,group\ncube0.npz,x\ncube1.npz,x\ncube2.npz,y\ncopy.npz,z\n")
    refusing = place.send("NO")
    place.say(refusing, Kind.REFUSED)
    question = Folder(path=str(folder), groups="groups.csv", basis="ethics-waiver", reference="EC 2026-1")
    cohort = place.add("cubes", question)
    version = place.freeze(cohort)
    members = {member.file: member for member in place.members(version)}
    assert version.left_out == {"no-consent": 2, "duplicate": 1, "no-group": 1}
    assert set(members) == {"A-0.dcm", "A-1.dcm", "B-0.dcm", "B-1.dcm", "copy.npz", "cube1.npz", "cube2.npz"}
    assert members["A-0.dcm"].group == members["A-1.dcm"].group != members["B-0.dcm"].group
    assert members["copy.npz"].group == members["cube1.npz"].group != members["cube2.npz"].group
    assert version.grouping == "declared"
    text = str([(m.file, m.group, m.sha256) for m in members.values()])
    assert "named:" not in text

    # A patient who is known here and says no afterwards leaves it too.
    late = place.send("B")
    (folder / "cube3.npz").write_bytes(b"new")
    (folder / "groups.csv").write_text("file,group\ncube0.npz,x\ncube1.npz,x\ncube2.npz,y\ncopy.npz,z\ncube3.npz,w\n")
    second = place.freeze(cohort)
    with place.database.write() as session:
        withdraw(session, session.get_one(Study, late).patient_pk)
    assert {member.file for member in place.members(second)} == {
        "A-0.dcm", "A-1.dcm", "copy.npz", "cube1.npz", "cube2.npz", "cube3.npz",
    }  # fmt: skip


def test_a_folder_that_cannot_be_used(sqlite_place: Place, tmp_path: Path) -> None:
    place = sqlite_place
    gone = Folder(path=str(tmp_path / "gone"), basis="ethics-waiver", reference="EC 1")
    with pytest.raises(BadInput, match="not there"):
        place.freeze(place.add("gone", gone))
    (tmp_path / "groups.csv").write_text("name;who\n")
    for number, text in enumerate(("name;who\na;b\n", "file,group\nmissing.npz,x\n")):
        (tmp_path / "groups.csv").write_text(text)
        wrong = Folder(path=str(tmp_path), groups="groups.csv", basis="ethics-waiver", reference="EC 1")
        with pytest.raises(BadInput, match="table of groups"):
            place.freeze(place.add(f"wrong{number}", wrong, shares=HALVES))
