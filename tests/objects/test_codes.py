"""The code table against the terminology that pydicom carries."""

import pytest
from pydicom.sr._concepts_dict import concepts

from readingroom.findings import codes

# Not in pydicom's dictionaries: the container of TID 1500 row 12, and UCUM's millilitre.
UNLISTED = {"qualitative-evaluations", "mL"}


OWN = {name for name in codes.names() if codes.code(name).scheme == codes.OWN_SCHEME}


@pytest.mark.parametrize("name", sorted(set(codes.names()) - UNLISTED - OWN))
def test_code_is_in_the_standard(name: str) -> None:
    coded = codes.code(name)
    entries = {keyword: entry for keyword, entry in concepts[coded.scheme].items() if coded.value in entry}
    # For some units the dictionary has the word as its keyword and the symbol as its meaning.
    meanings = {word.lower() for keyword, entry in entries.items() for word in (keyword, entry[coded.value][0])}
    # Some rows carry SNOMED's fully specified name: the tag at its end is no part of the meaning.
    meanings |= {meaning.removesuffix(" (disorder)") for meaning in meanings}
    assert coded.meaning.lower() in meanings


def test_our_own_codes_are_only_what_the_standard_has_none_for() -> None:
    assert {
        "verdicts", "verdict", "judged-document", "decision", "accepted", "edited", "rejected", "undecided", "reason",
        "density-type", "solid", "part-solid", "benign-calcification", "spiculation", "lobulation", "malignancy",
        "attachment", "free", "juxtapleural", "perifissural", "perivascular", "lentiform", "triangular", "airway",
        "airway-subsegmental", "airway-central", "cyst", "cyst-thin", "cyst-thick", "cyst-multilocular",
        "solid-part-diameter", "diameter-change", "volume-change", "volume-doubling-time", "lung-rads", "fleischner",
        "rule-fired", "rule-facts", "rule-missing", "dominant-finding", "said-by-ai", "airless-left", "airless-right",
        "hippocampus-anterior", "hippocampus-posterior", "hippocampus-asymmetry", "hippocampus-volume-left",
        "hippocampus-volume-left-anterior", "hippocampus-volume-left-posterior", "hippocampus-volume-right",
        "hippocampus-volume-right-anterior", "hippocampus-volume-right-posterior",
        "hemorrhage-type", "intraventricular", "intraparenchymal", "subarachnoid", "epidural", "subdural",
        "midline-shift", "flair-abnormality", "extent-left-right", "extent-front-back", "extent-head-foot",
        "diameter-product",
    } == OWN  # fmt: skip
    assert len({codes.code(name).value for name in OWN}) == len(OWN)
    # PS3.16 section 8.2: schemes that are not in the standard begin with 99.
    assert codes.OWN_SCHEME.startswith("99")


def test_every_scheme_has_a_fhir_system() -> None:
    assert all(codes.system(codes.code(name).scheme) for name in codes.names())
    assert codes.system("99LOCAL") is None
