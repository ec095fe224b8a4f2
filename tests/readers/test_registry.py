"""Each reader loads, or fails, on its own."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from readingroom.core.errors import BadInput
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries
from readingroom.readers.registry import GROUP, load_card, load_readers


def card(name: str) -> Card:
    return Card(
        name=name, version="1", title="t", question="q", takes="x", finds=(), evidence_level=0, evidence="none",
        limits=(), weights_licence="none", data=(),
    )  # fmt: skip


class Good:
    card = card("good")
    weights_sha256 = ""
    configuration_sha256 = "c"

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        return Applicability(applies=False, reason="never")

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        return ReadingOutput()


class Tampered(Good):
    def __init__(self) -> None:
        raise BadInput("The weights file model.onnx is not the one its card names.")


class OtherName(Good):
    card = card("something-else")


class NoCard:
    card = "none"


class HalfReader:
    card = card("half")
    weights_sha256 = ""
    configuration_sha256 = "c"


class Exits(Good):
    def __init__(self) -> None:
        raise RuntimeError("broken constructor")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    module = ModuleType("registry_fakes")
    for one in (Good, Tampered, OtherName, NoCard, HalfReader, Exits):
        setattr(module, one.__name__, one)
    monkeypatch.setitem(sys.modules, "registry_fakes", module)
    return {
        "good": "Good", "tampered": "Tampered", "other": "OtherName", "no-card": "NoCard", "half": "HalfReader",
        "exits": "Exits",
    }  # fmt: skip


def test_bad_readers_are_listed_and_the_good_one_works(entries: dict[str, str]) -> None:
    points = [EntryPoint(name, f"registry_fakes:{value}", GROUP) for name, value in entries.items()]
    points.append(EntryPoint("not-there", "no_such_module:Reader", GROUP))
    loaded = {one.name: one for one in load_readers(points)}
    assert set(loaded) == {*entries, "not-there"}
    assert isinstance(loaded["good"].reader, Good)
    assert loaded["good"].version == "1"
    broken = {name: one.error for name, one in loaded.items() if name != "good"}
    assert all(loaded[name].reader is None for name in broken)
    assert "no_such_module" in broken["not-there"]
    assert "weights" in broken["tampered"]
    assert "something-else" in broken["other"]
    assert all(broken.values())


def test_two_readers_of_one_name_are_both_refused(entries: dict[str, str]) -> None:
    points = [EntryPoint("good", f"registry_fakes:{value}", GROUP) for value in ("Good", "Exits")]
    loaded = load_readers(points)
    assert [one.reader for one in loaded] == [None, None]


def test_one_entry_point_seen_twice_is_one_reader(entries: dict[str, str]) -> None:
    points = [EntryPoint("good", "registry_fakes:Good", GROUP)] * 2
    assert [one.name for one in load_readers(points)] == ["good"]


def test_a_wrong_card_says_which_field(tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("name: Wrong Name\nversion: '1'\n")
    with pytest.raises(BadInput, match="name"):
        load_card(tmp_path / "card.yaml")


def test_our_own_reader_is_installed_and_usable() -> None:
    (own,) = [one for one in load_readers() if one.name == "lung-nodule"]
    assert own.error == ""
    assert own.reader is not None
    assert own.reader.card.evidence_level == 1
