"""A filled checklist as Markdown for people, and as JSON data."""

import re
from itertools import groupby
from typing import Any

from readingroom.learning.checklists.fill import Answer, FilledChecklist, State

_SPECIAL = re.compile(r"([\\`*<>\[\]|])")


def as_markdown(filled: FilledChecklist) -> str:
    """Return the whole as one page; what is left for a person is marked in every item."""
    about = filled.checklist
    lines = [
        f"# {_safe(about.title)}",
        "",
        f"{_safe(about.edition)}. {_safe(about.source)}, doi:{_safe(about.doi)}. Topics are in our own words: read the "
        "original before submitting anything.",
        "",
        f"Filled for **{_safe(filled.reader)} {_safe(filled.version)}** from what ran. For research use only. "
        f"{filled.count(State.FILLED)} of {len(filled.answers)} filled, {filled.count(State.NOT_APPLICABLE)} not "
        f"applicable, {filled.count(State.OPEN)} open.",
    ]
    lines += [line for note in filled.notes for line in ("", f"Not used: {_safe(note)}")]
    for section, answers in groupby(filled.answers, key=lambda answer: answer.item.section):
        lines += ["", f"## {_safe(section)}"]
        for answer in answers:
            lines += ["", f"### {answer.item.number}. {_safe(answer.item.topic)}", "", *_body(answer)]
    return "\n".join(lines) + "\n"


def _body(answer: Answer) -> list[str]:
    if answer.state is State.NOT_APPLICABLE:
        return [f"**Not applicable.** {_safe(answer.why)}"]
    if answer.state is State.OPEN:
        lines = [f"**Open: needs a person.** {_safe(answer.item.person)}"]
        return lines + ([f"Would be filled from {_safe(', '.join(answer.missing))}."] if answer.missing else [])
    lines = ["**Filled from what ran.**", ""]
    for fact in answer.facts:
        if len(fact.lines) == 1:
            lines.append(f"- {_safe(fact.lines[0])} ({_safe(fact.source)})")
        else:
            lines += [f"- {_safe(fact.source)}", *(f"  - {_safe(line)}" for line in fact.lines)]
    return [*lines, "", f"Left for a person: {_safe(answer.item.person)}"]


def _safe(text: str) -> str:
    """One line whose characters mean themselves in Markdown."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def as_data(filled: FilledChecklist) -> dict[str, Any]:
    """Return the whole as JSON data."""
    return {
        **filled.checklist.model_dump(mode="json", exclude={"items"}),
        "reader": filled.reader,
        "version": filled.version,
        "counts": {state.value: filled.count(state) for state in State},
        "notes": list(filled.notes),
        "items": [
            {
                "number": answer.item.number,
                "section": answer.item.section,
                "topic": answer.item.topic,
                "state": answer.state.value,
                "facts": [{"source": fact.source, "lines": list(fact.lines)} for fact in answer.facts],
                "why": answer.why,
                "missing": list(answer.missing),
                "person": "" if answer.state is State.NOT_APPLICABLE else answer.item.person,
            }
            for answer in filled.answers
        ],
    }
