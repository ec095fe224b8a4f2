"""Published rules for lung nodules as data, and what applies them: Lung-RADS v2022, Fleischner 2017, growth.

A reader calls ``assess_all`` once it has its findings::

    findings = assess_all(findings, request.priors, request.context.age_years)

Each finding then carries its ``Assessment`` of each table, with the rule that fired and what it rested on.
"""

from readingroom.findings.rules.apply import assess_all, facts_of
from readingroom.findings.rules.growth import Change, change_since, followed

__all__ = ["Change", "assess_all", "change_since", "facts_of", "followed"]
