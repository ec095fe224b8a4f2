"""The table of reasons: codes that DICOM can carry, a key for each, and docs that list them all."""

import json
import re
from pathlib import Path

import pytest

from readingroom.core.errors import BadInput
from readingroom.review.reasons import check_reject_reason, edition, reject_reasons

ROOT = Path(__file__).parent.parent.parent


def test_codes_fit_a_code_value_and_meanings_a_code_meaning() -> None:
    for code, reason in reject_reasons().items():
        assert re.fullmatch(r"[a-z-]{1,16}", code), code
        assert 0 < len(reason.meaning) <= 64


def test_what_a_lung_reader_mistakes_for_a_nodule_has_a_reason() -> None:
    for code in ("vessel", "scar-fibrosis", "lymph-node", "pleural", "atelectasis"):
        check_reject_reason(code, "")
    with pytest.raises(BadInput):
        check_reject_reason("fibrosis", "")
    with pytest.raises(BadInput):
        check_reject_reason("other", " ")


def test_docs_list_every_reason_of_this_edition() -> None:
    page = (ROOT / "docs" / "rooms" / "review.md").read_text("utf-8")
    assert f"edition {edition()}" in page
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (.+?) \|$", page, re.MULTILINE))
    assert listed == {code: reason.meaning for code, reason in reject_reasons().items()}


def test_every_reason_has_a_key_on_the_page() -> None:
    source = (ROOT / "readingroom" / "web" / "frontend" / "src" / "study" / "codes.ts").read_text("utf-8")
    keys = re.search(r'REASON_KEYS = ("[^"]+")', source)
    assert keys is not None
    assert len(set(json.loads(keys[1]))) >= len(reject_reasons())
