"""Characteristics and categories by published tables, as content items of an SR.

No context group of the standard that we know of holds Lung-RADS or Fleischner: concept and category are of our own
scheme, and the items below each category say the rule that fired, what it rests on and what is recommended.
"""

from highdicom.sr import (
    CodeContentItem,
    ContentSequence,
    NumContentItem,
    QualitativeEvaluation,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from highdicom.sr.coding import CodedConcept

from readingroom.findings.model import Assessment, Characteristic
from readingroom.findings.rules import concept_of, gives_category
from readingroom.objects.common import concept, named
from readingroom.objects.content import ReportContent, StudyAssessment
from readingroom.objects.source import plain_text

_PROPERTIES = RelationshipTypeValues.HAS_PROPERTIES


def characteristic_item(one: Characteristic) -> QualitativeEvaluation:
    """Return a characteristic as a qualitative evaluation (TID 1501), with the probability a reader gave it."""
    evaluation = QualitativeEvaluation(concept(one.concept), concept(one.value))
    if one.probability is not None:
        percent = NumContentItem(
            named("certainty"), round(100 * one.probability, 4), named("percent"), relationship_type=_PROPERTIES
        )
        evaluation[0].ContentSequence = ContentSequence([percent])
    return evaluation


def finding_item(one: Assessment) -> QualitativeEvaluation | None:
    """Return the category of a finding as a qualitative evaluation (TID 1501); None where it has none."""
    name = _name(one)
    if name is None or not gives_category(one):
        return None
    evaluation = QualitativeEvaluation(name, concept(one.category))
    evaluation[0].ContentSequence = _reasons(one)
    return evaluation


def study_item(one: StudyAssessment, content: ReportContent) -> CodeContentItem | None:
    """Return what a table says of the study (TID 1500 row 13), with the finding it is from and what AI said otherwise.

    None where nothing supports a category.
    """
    stated = one.stated
    name = _name(stated) if stated is not None else None
    if stated is None or name is None or not gives_category(stated):
        return None
    item = CodeContentItem(name, concept(stated.category), RelationshipTypeValues.CONTAINS)
    items = _reasons(stated)
    leading = next((each.finding for each in content.findings if each.finding.id == one.dominant), None)
    if leading is not None:
        items.append(UIDRefContentItem(named("dominant-finding"), content.tracking_uid(leading), _PROPERTIES))
    for said in one.differing():
        other = CodeContentItem(named("said-by-ai"), concept(said.assessment.category), _PROPERTIES)
        reader = f"{said.name} {said.version}, rule {said.assessment.rule}"
        other.ContentSequence = ContentSequence([_text("comment", reader)])
        items.append(other)
    item.ContentSequence = items
    return item


def _name(one: Assessment) -> CodedConcept | None:
    coded = concept_of(one)
    return concept(coded) if coded is not None else None


def _reasons(one: Assessment) -> ContentSequence:
    items = ContentSequence([_text("rule-fired", f"{one.table} {one.edition}: {one.rule}")])
    for name, text in (
        ("rule-facts", "; ".join(one.because)),
        ("recommendation", one.advice),
        ("rule-missing", "; ".join(one.missing)),
    ):
        if text:
            items.append(_text(name, text))
    return items


def _text(name: str, text: str) -> TextContentItem:
    return TextContentItem(named(name), plain_text(text), _PROPERTIES)
