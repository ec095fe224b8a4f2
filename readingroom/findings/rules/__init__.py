"""Nodule rules as data: Lung-RADS 2022 and Fleischner 2017, with the rule that fired; growth against earlier studies.

A reader calls ``assess`` once, last, with findings that have measurements (or axes) and characteristics::

    from readingroom.findings.rules import NoduleContext, assess, characteristic

    finding = Finding(..., code=code("nodule"), site=code("lung"), axes=(long, short),
                      measurements=(Measurement(code=code("volume"), ...),
                                    Measurement(code=code("solid-part-diameter"), value=5.2, unit=code("mm"))),
                      characteristics=(characteristic("density-type", "part-solid", 0.84),
                                       characteristic("spiculation", "present", 0.71)))
    done = assess(findings, NoduleContext(age_years=request.context.age_years), request.priors)
    return ReadingOutput(findings=done.findings, assessments=done.study, ...)

``assess`` returns the findings, in order, each with what it was in earlier studies (``earlier``, and the tracking
identifiers of then), its growth among its measurements, and its assessments; and the assessments of the study. Called
again with findings that have ``earlier`` and no priors, it recomputes from them: so review does after an edit.
Where a fact is missing, the more cautious assumption is made, named in ``because`` and ``missing``.

What may be said of a nodule, by short name (``codes.json``): ``density-type``: solid, part-solid, ground-glass;
``spiculation``, ``lobulation``: present, finding-absent; ``margins``: smooth, irregular; ``calcification``: present
(pattern not judged), benign-calcification, finding-absent; ``content``: fat; ``attachment``: free, juxtapleural,
perifissural, perivascular; ``shape``: round, ovoid, lentiform, triangular, irregular; ``airway``: airway-subsegmental,
airway-central; ``cyst``: cyst-thin, cyst-thick, cyst-multilocular. ``assess_all`` is ``assess`` for a reader that needs
the findings alone.
"""

from readingroom.findings.rules.assessing import GROWTH_CODES, Assessed, NoduleContext, assess, assess_all
from readingroom.findings.rules.facts import (
    CHARACTERISTICS,
    characteristic,
    characteristics_of,
    is_nodule,
    mean_diameter_mm,
    measurements_of,
    whole_diameter_mm,
)
from readingroom.findings.rules.following import followed
from readingroom.findings.rules.growth import Growth, compare, volume_doubling_days
from readingroom.findings.rules.ranking import concept_of, dominant, gives_category
from readingroom.findings.rules.tables import NOT_APPLICABLE, UNDETERMINED, RuleTable, table

__all__ = [
    "CHARACTERISTICS",
    "GROWTH_CODES",
    "NOT_APPLICABLE",
    "UNDETERMINED",
    "Assessed",
    "Growth",
    "NoduleContext",
    "RuleTable",
    "assess",
    "assess_all",
    "characteristic",
    "characteristics_of",
    "compare",
    "concept_of",
    "dominant",
    "followed",
    "gives_category",
    "is_nodule",
    "mean_diameter_mm",
    "measurements_of",
    "table",
    "volume_doubling_days",
    "whole_diameter_mm",
]
