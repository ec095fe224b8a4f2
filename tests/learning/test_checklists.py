"""Reporting checklists: complete, filled for lung-nodule from what is there, and open where nothing ran."""

import json
import re
import shutil
from pathlib import Path

import pytest

from readingroom.cli.main import main
from readingroom.learning.checklists.fill import (
    CHECKLISTS,
    DOCUMENTS,
    Answer,
    FilledChecklist,
    Ran,
    State,
    fill,
    load_checklist,
    ran_of,
    source_of,
    what_ran,
)
from readingroom.learning.checklists.write import as_data, as_markdown
from readingroom.readers.contract import Reader

READER = "lung-nodule"
PARTS = {
    "3": "abc", "5": "ab", "6": "abc", "8": "abc", "9": "abc", "12": "abcdefg", "18": "abcdef", "20": "abc",
    "23": "ab", "27": "abc",
}  # fmt: skip
"""TRIPOD+AI items that have parts."""


@pytest.fixture(scope="module")
def installed() -> tuple[Reader, Ran]:
    return what_ran(READER)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """What lies beside the reader, to be changed."""
    import readingroom.readers.lung_nodule as package

    folder = tmp_path / "weights"
    folder.mkdir()
    for name in DOCUMENTS.values():
        path = Path(package.__path__[0]) / "weights" / name
        if path.exists():
            shutil.copy(path, folder)
    return folder


def answers(filled: FilledChecklist) -> dict[str, Answer]:
    return {answer.item.number: answer for answer in filled.answers}


def test_numbers_are_complete() -> None:
    claim = [item.number for item in load_checklist("claim_2024").items]
    assert claim == [str(n) for n in range(1, 45)]
    tripod = [item.number for item in load_checklist("tripod_ai_2024").items]
    assert tripod == [f"{n}{part}" for n in range(1, 28) for part in PARTS.get(str(n), [""])]
    assert len(tripod) == 52


@pytest.mark.parametrize("name", CHECKLISTS)
def test_every_source_exists_for_lung_nodule(name: str, installed: tuple[Reader, Ran]) -> None:
    """What an item cannot do without is there; what it shows where it is names a file that can be."""
    _, ran = installed
    items = load_checklist(name).items
    asked = {field for item in items for field in item.all_of}
    asked |= {item.not_applicable.field for item in items if item.not_applicable}
    assert {first.split(".")[0] for first in asked} >= {"card", "evaluation"}
    assert [field for field in asked if ran.value(field) is None] == []
    assert {field.split(".")[0] for item in items for field in item.if_there} <= set(DOCUMENTS)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_every_item_ends_in_one_way(name: str, installed: tuple[Reader, Ran]) -> None:
    reader, ran = installed
    filled = fill(load_checklist(name), reader, ran)
    assert filled.notes == ()
    for answer in filled.answers:
        assert (answer.state is State.FILLED) == bool(answer.facts)
        assert (answer.state is State.NOT_APPLICABLE) == bool(answer.why)
        for fact in answer.facts:
            assert re.fullmatch(r"(card\.yaml|\w+\.json): [\w.]+", fact.source)
            assert all(fact.lines)
    assert filled.count(State.FILLED) > 15
    assert filled.count(State.OPEN) > 15


def test_the_numbers_are_those_that_ran(installed: tuple[Reader, Ran]) -> None:
    reader, ran = installed
    found = answers(fill(load_checklist("tripod_ai_2024"), reader, ran))["23a"]
    metric = ran.value("evaluation.metrics")["sensitivity"]
    low, high = metric["ci95"]
    wanted = f"sensitivity: {metric['value']:.4g} (95% CI {low:.4g} to {high:.4g}, n = {metric['n']})"
    assert found.facts[0].source == "evaluation.json: metrics"
    assert wanted in found.facts[0].lines
    text = as_markdown(fill(load_checklist("tripod_ai_2024"), reader, ran))
    assert wanted in text
    assert "For research use only" in text


def test_without_an_evaluation_its_items_are_open(installed: tuple[Reader, Ran], weights: Path) -> None:
    reader, _ = installed
    (weights / "evaluation.json").unlink()
    ran = ran_of(reader, weights)
    for name in CHECKLISTS:
        checklist = load_checklist(name)
        found = answers(fill(checklist, reader, ran))
        resting = [i for i in checklist.items if any(f.startswith("evaluation.") for f in i.all_of)]
        assert resting
        for item in resting:
            assert found[item.number].state is State.OPEN
            assert found[item.number].facts == ()
            assert any(one.startswith("evaluation.json: ") for one in found[item.number].missing)
        assert not any(f.source.startswith("evaluation") for answer in found.values() for f in answer.facts)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"weights_sha256": "0" * 64}, "evaluation.json was made with other weights: it fills nothing."),
        ({"version": "0.0.1"}, "evaluation.json is another reader's or version's: it fills nothing."),
        ({"reader": "other"}, "evaluation.json is another reader's or version's: it fills nothing."),
    ],
)
def test_anothers_evaluation_fills_nothing(
    change: dict[str, str], why: str, installed: tuple[Reader, Ran], weights: Path
) -> None:
    reader, _ = installed
    path = weights / "evaluation.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change))
    filled = fill(load_checklist("claim_2024"), reader, ran_of(reader, weights))
    assert filled.notes == (why,)
    assert answers(filled)["37"].state is State.OPEN
    assert f"Not used: {why}" in as_markdown(filled)


def test_a_broken_file_is_named_and_fills_nothing(installed: tuple[Reader, Ran], weights: Path) -> None:
    reader, _ = installed
    (weights / "training.json").write_text("[1, 2")
    filled = fill(load_checklist("claim_2024"), reader, ran_of(reader, weights))
    assert filled.notes == ("training.json cannot be read.",)
    assert answers(filled)["23"].state is State.OPEN


def test_what_the_engine_leaves_fills_more(installed: tuple[Reader, Ran], weights: Path) -> None:
    from learning_support import recipe

    reader, _ = installed
    run = {"reader": READER, "reader_version": reader.card.version, "recipe": recipe().model_dump(mode="json")}
    (weights / "run.json").write_text(json.dumps(run | {"groups": 40, "commit": "abc+", "recipe_sha256": "f" * 64}))
    found = answers(fill(load_checklist("claim_2024"), reader, ran_of(reader, weights)))
    for number in ("9", "22", "26", "27"):
        assert found[number].state is State.FILLED, number
    facts = {fact.source: fact.lines for fact in found["22"].facts}
    assert "arguments, width: 4" in facts[source_of("run.recipe.network")]


def test_not_applicable_says_why(installed: tuple[Reader, Ran]) -> None:
    reader, ran = installed
    found = answers(fill(load_checklist("claim_2024"), reader, ran))["34"]
    assert found.state is State.NOT_APPLICABLE
    assert "card.yaml: evidence_level" in found.why
    prospective = Ran({**ran.documents, "card": ran.documents["card"] | {"evidence_level": 3}})
    assert answers(fill(load_checklist("claim_2024"), reader, prospective))["34"].state is State.OPEN


def test_what_a_reader_says_is_no_markdown(installed: tuple[Reader, Ran]) -> None:
    reader, ran = installed
    card = ran.documents["card"] | {"limits": ["<script>x</script>\n# Heading | [a](b)"]}
    text = as_markdown(fill(load_checklist("claim_2024"), reader, Ran({**ran.documents, "card": card})))
    assert "\\<script\\>" in text
    assert "\n# Heading" not in text


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], installed: tuple[Reader, Ran]) -> None:
    assert main(["checklist", READER, "--out", str(tmp_path / "out")]) == 0
    for name in CHECKLISTS:
        assert (tmp_path / "out" / f"{name}.md").read_text("utf-8").startswith("# ")
    assert "filled" in capsys.readouterr().out
    assert main(["checklist", READER, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == [as_data(fill(load_checklist(name), *installed)) for name in CHECKLISTS]
    assert sum(printed[0]["counts"].values()) == 44
    assert main(["checklist", "nobody"]) == 2
    assert "There is no reader 'nobody'." in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["checklist", READER, "--out", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
