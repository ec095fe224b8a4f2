"""Readers without code: manifests, MONAI bundles, and what is refused of broken and hostile ones."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from model_support import BRIGHT, identity, mean_score, package
from onnx import TensorProto, helper
from support import ROOT

from readingroom.core.config import Settings
from readingroom.core.errors import ReadingRoomError
from readingroom.findings.codes import code
from readingroom.findings.model import PatientPlace, ReaderState, Reading, StudyPlace
from readingroom.imaging.volume import Volume
from readingroom.learning.models.loading import load
from readingroom.learning.models.package import Draft, read_package
from readingroom.learning.models.serving import Package
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.packaged.manifest import Manifest
from readingroom.readers.runner import run_reader
from readingroom.workflow.try_reader import torchscript_to_onnx, try_draft


def refuse(_path: Path, _manifest: object) -> bytes:
    raise AssertionError("there is nothing to convert")


def read_draft(path: Path) -> Draft:
    return read_package(path, refuse)


def loaded(draft: Draft, folder: Path):  # type: ignore[no-untyped-def]
    """The draft as a child loads it: a reader, or why not."""
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    files = {}
    for name, data in draft.files.items():
        (kept / name).write_bytes(data)
        files[name] = str(kept / name)
    words = Package(reader=draft.reader, version=draft.version, statement=draft.statement.text(), files=files)
    return load(words)


def chest(array: np.ndarray, affine: np.ndarray | None = None, **changes: Any) -> TypedSeries:
    """A CT series of these values on a grid of 2 mm slices and 1 mm pixels, slices to the head."""
    affine = np.diag([1.0, 1.0, 2.0, 1.0]) if affine is None else affine
    volume = Volume(
        array.astype(np.int16), affine, "1.2.9", "1.2.3", "1.2", "CT", "HU",
        tuple(f"1.2.3.{n}" for n in range(len(array))), (1,) * len(array), **changes,
    )  # fmt: skip
    return TypedSeries("1.2.3", SeriesType(modality="CT", kind="ct-volume", region="chest"), volume)


def read(folder: Path, series: TypedSeries) -> tuple[Reading, ReadingOutput]:
    found = loaded(read_draft(folder), folder)
    assert found.reader is not None, found.error
    return run_reader(found.reader, ReadingRequest("1.2", (series,)), lambda *_: None)


def two_spots() -> np.ndarray:
    array = np.full((9, 30, 40), -1024)
    array[2:4, 5:8, 5:9] = 0
    array[6:8, 20:24, 30:34] = -200
    return array


def test_a_detector_finds_each_spot_where_it_lies(tmp_path: Path) -> None:
    reading, output = read(package(tmp_path), chest(two_spots()))
    assert reading.state is ReaderState.FOUND
    assert [f.probability for f in reading.findings] == [1.0, pytest.approx(0.8047, abs=1e-3)]
    for finding, box in zip(reading.findings, ((2, 5, 5, 2, 3, 4), (6, 20, 30, 2, 4, 4)), strict=True):
        segment = output.segments[finding.segment]
        assert (*segment.offset, *segment.mask.shape) == box
        assert segment.mask.all()
        assert segment.sop_instance_uids == tuple(f"1.2.3.{n}" for n in range(box[0], box[0] + box[3]))
        assert isinstance(finding.place, PatientPlace)
        x, y, z = finding.place.position_lps_mm
        assert box[2] <= x < box[2] + box[5]
        assert box[1] <= y < box[1] + box[4]
        assert 2 * box[0] <= z < 2 * (box[0] + box[3])
        assert finding.measurements[0].value == 2.0 * box[3] * box[4] * box[5]
        assert finding.code == code("nodule")
    assert reading.evidence_level == 0


@pytest.mark.parametrize("axes", ["SPL", "RAS", "LPS", "IAR"])
def test_whichever_way_the_axes_run_the_spots_stay_where_they_are(tmp_path: Path, axes: str) -> None:
    size = [16, 16, 4] if axes[2] in "SI" else [4, 16, 16]
    _, output = read(package(tmp_path, input={**BRIGHT["input"], "axes": axes, "size": size}), chest(two_spots()))
    assert {s.offset for s in output.segments.values()} == {(2, 5, 5), (6, 20, 30)}


def test_a_mirrored_stack_of_slices_too(tmp_path: Path) -> None:
    """Slices to the feet: a network that wants them to the head gets them so, and the mask comes back."""
    affine = np.diag([1.0, 1.0, -2.0, 1.0])
    reading, output = read(package(tmp_path), chest(two_spots(), affine))
    assert {s.offset for s in output.segments.values()} == {(2, 5, 5), (6, 20, 30)}
    place = reading.findings[0].place
    assert isinstance(place, PatientPlace)
    assert place.position_lps_mm[2] < 0


def test_another_spacing_gives_the_same_spots_nearly(tmp_path: Path) -> None:
    array = np.full((20, 40, 40), -1024)
    array[8:14, 10:22, 12:24] = 0
    folder = package(tmp_path, input={**BRIGHT["input"], "spacing_mm": [2.0, 2.0, 2.0]})
    reading, output = read(folder, chest(array))
    (segment,) = output.segments.values()
    ours = np.zeros(array.shape, bool)
    ours[tuple(slice(o, o + n) for o, n in zip(segment.offset, segment.mask.shape, strict=True))] = segment.mask
    truth = array == 0
    assert 2 * (ours & truth).sum() / (ours.sum() + truth.sum()) > 0.9
    assert len(reading.findings) == 1


def test_a_segmentation_is_one_finding_a_class(tmp_path: Path) -> None:
    output = {"kind": "segmentation", "classes": [{"code": "lung", "threshold": 0.5, "smallest_ml": 0.01}]}
    reading, made = read(package(tmp_path, output=output), chest(two_spots()))
    (finding,) = reading.findings
    assert finding.probability is None
    assert made.segments[finding.segment].mask.sum() == 24 + 32
    nothing, _ = read(package(tmp_path, output=output), chest(np.full((9, 30, 40), -1024)))
    assert nothing.state is ReaderState.NOTHING_FOUND


def test_a_classifier_says_it_of_the_study(tmp_path: Path) -> None:
    classes = [
        {"channel": 0, "code": "malignancy", "threshold": 0.4},
        {"channel": 1, "code": "nodule", "threshold": 0.9},
    ]
    folder = package(tmp_path, mean_score(), output={"kind": "classification", "classes": classes})
    reading, _ = read(folder, chest(np.full((9, 30, 40), -512)))
    (finding,) = reading.findings
    assert isinstance(finding.place, StudyPlace)
    assert finding.probability == pytest.approx(0.5, abs=1e-3)
    assert reading.input_statistics["score_1"] == pytest.approx(0.5, abs=1e-3)


def test_of_classes_that_exclude_each_other_one_is_found(tmp_path: Path) -> None:
    classes = [{"channel": n, "code": name, "threshold": 0} for n, name in ((0, "malignancy"), (1, "nodule"))]
    output = {"kind": "classification", "activation": "softmax", "classes": classes}
    folder = package(tmp_path, mean_score(), output=output)
    for value, found in ((-900, "nodule"), (-100, "malignancy")):
        reading, _ = read(folder, chest(np.full((9, 30, 40), value)))
        assert [finding.code for finding in reading.findings] == [code(found)]


def test_a_flat_network_reads_slice_by_slice(tmp_path: Path) -> None:
    folder = package(tmp_path, identity(rank=4), input={**BRIGHT["input"], "size": [1, 16, 16]})
    _, output = read(folder, chest(two_spots()))
    assert {s.offset for s in output.segments.values()} == {(2, 5, 5), (6, 20, 30)}


def test_what_it_cannot_read_it_says(tmp_path: Path) -> None:
    folder = package(tmp_path)
    oblique = np.eye(4)
    oblique[:3, :3] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
    for series, why in (
        (chest(two_spots(), oblique), "oblique"),
        (chest(two_spots(), irregular=True, slice_positions_mm=tuple(range(9))), "evenly spaced"),
    ):
        reading, _ = read(folder, series)
        assert (reading.state, why in reading.reason) == (ReaderState.ABSTAINED, True)
    head = TypedSeries("1.2.3", SeriesType(modality="CT", kind="ct-volume", region="head"), None)
    reading, _ = read(folder, head)
    assert reading.reason == "No CT volume in this study shows the chest."


def test_scores_that_are_none_fail(tmp_path: Path) -> None:
    reading, _ = read(package(tmp_path, identity(7.0)), chest(two_spots()))
    assert reading.state is ReaderState.FAILED
    assert "outside 0 to 1" in reading.reason


def test_the_card_says_that_nothing_was_measured(tmp_path: Path) -> None:
    draft = read_draft(package(tmp_path, licence="CC-BY-4.0", data=["42 CTs of a hospital"]))
    card = draft.statement.card
    assert (card.evidence_level, card.evidence) == (0, "None: it has not been measured here.")
    assert any("not been measured here" in limit for limit in card.limits)
    assert (card.weights_licence, card.data) == ("CC-BY-4.0", ("42 CTs of a hospital",))
    assert card.weights == draft.statement.files
    # The same thing has the same version, another network another one.
    assert read_draft(package(tmp_path)).version == card.version
    assert read_draft(package(tmp_path, identity(2.0))).version != card.version


def external_data() -> bytes:
    model = onnx.load_model_from_string(identity())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../secret.key"
    return model.SerializeToString()


def custom_operator() -> bytes:
    model = onnx.load_model_from_string(identity())
    model.graph.node[0].domain = "evil"
    return model.SerializeToString()


def hidden_operator() -> bytes:
    """One of another domain, in a branch."""
    model = onnx.load_model_from_string(identity())
    branch = helper.make_graph([helper.make_node("Run", ["image"], ["x"], domain="evil")], "b", [], [])
    model.graph.node.append(helper.make_node("If", ["image"], ["y"], then_branch=branch, else_branch=branch))
    return model.SerializeToString()


def two_inputs() -> bytes:
    model = onnx.load_model_from_string(identity())
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not an ONNX network"),
        (b"junk" * 100, "not an ONNX network"),
        (external_data(), "keeps weights in other files"),
        (custom_operator(), r"outside the ONNX standard \(evil\)"),
        (hidden_operator(), r"outside the ONNX standard \(evil\)"),
        (two_inputs(), "has 2 inputs and 1 outputs"),
    ],
)
def test_a_network_that_is_not_just_data_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises(ReadingRoomError, match=why):
        read_draft(package(tmp_path, data))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "../../etc"}, "name: String should match"),
        ({"version": "1 0"}, "version: String should match"),
        ({"input": {**BRIGHT["input"], "size": [0, 16, 16]}}, "input.size"),
        ({"input": {**BRIGHT["input"], "size": [4, 16, 10**9]}}, "input.size"),
        ({"input": {**BRIGHT["input"], "axes": "RLS"}}, "input.axes"),
        ({"input": {**BRIGHT["input"], "window": [5, 5]}}, "input.window"),
        ({"input": {**BRIGHT["input"], "spacing_mm": [0.0, 1, 1]}}, "input.spacing_mm"),
        ({"input": {**BRIGHT["input"], "modality": "US"}}, "input.modality"),
        ({"output": {"kind": "boxes", "code": "nodule"}}, "output.kind"),
        ({"output": {"kind": "detection", "code": "unicorn"}}, "no code of this name"),
        ({"output": {"kind": "detection", "code": "nodule", "threshold": 2}}, "threshold"),
        ({"output": {"kind": "detection", "classes": []}}, "output.classes"),
        ({"run": "rm -rf /"}, "run: Extra inputs"),
    ],
)
def test_a_wrong_manifest_names_what_is_wrong(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ReadingRoomError, match=why):
        read_draft(package(tmp_path, **changes))


def test_words_that_are_a_trap(tmp_path: Path) -> None:
    folder = package(tmp_path / "p")
    for words in (
        "a: &a [x, x]\nb: [*a, *a, *a]\n",
        "!!python/object/apply:os.system ['true']\n",
        "[" * 100_000,
        "\x00\xff",
    ):
        (folder / "manifest.yaml").write_bytes(words.encode("latin-1"))
        with pytest.raises(ReadingRoomError, match="YAML without aliases"):
            read_draft(folder)
    (folder / "manifest.yaml").write_text("#" * (2 << 20))
    with pytest.raises(ReadingRoomError, match="larger than 1 MiB"):
        read_draft(folder)
    package(folder)
    (folder / "model.onnx").unlink()
    (tmp_path / "elsewhere.onnx").write_bytes(identity())
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(ReadingRoomError, match="lies outside the package"):
        read_draft(folder)
    with pytest.raises(ReadingRoomError, match="neither a folder nor an ONNX file"):
        read_draft(tmp_path / "not-there.zip")
    with pytest.raises(ReadingRoomError, match="no package of a reader"):
        (tmp_path / "empty").mkdir()
        read_draft(tmp_path / "empty")


def test_a_network_that_does_not_fit_its_manifest_is_never_kept(settings: Settings, tmp_path: Path) -> None:
    good = read_draft(package(tmp_path / "good"))
    try_draft(settings, good)
    for name, words, why in (
        ("channel", {"output": {"kind": "detection", "code": "nodule", "channel": 3}}, "names channel 3"),
        ("kind", {"output": {"kind": "classification", "code": "nodule"}}, "not one number a voxel"),
    ):
        with pytest.raises(ReadingRoomError, match=why):
            try_draft(settings, read_draft(package(tmp_path / name, **words)))
    assert not settings.models_folder.exists()


# MONAI bundles


def bundle(folder: Path, *, network: str = "model.onnx", metadata: Any = None, inference: Any = None) -> Path:
    """A bundle as MONAI writes one; the last two replace parts of it."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / network).write_bytes(identity() if network.endswith("onnx") else b"PK")
    image = {"type": "image", "format": "hounsfield", "modality": "CT", "num_channels": 1, "spatial_shape": [16, 16, 4]}
    pred = {"type": "image", "format": "segmentation", "num_channels": 1, "channel_def": {"0": "Lung"}}
    words = {
        "version": "0.3.1", "name": "Lung segmentation", "description": "Where are the lungs?",
        "data_source": "Decathlon", "intended_use": "An example, not for use on patients.",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}}, **(metadata or {}),
    }  # fmt: skip
    steps = {
        "preprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": [1.0, 1.0, 2.0]},
            {"_target_": "ScaleIntensityRanged", "a_min": -1024, "a_max": 0, "b_min": 0.0, "b_max": 1.0, "clip": True},
        ]},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 4], "overlap": 0.5},
        "postprocessing": {"_target_": "Compose", "transforms": [
            {"_target_": "Invertd", "keys": "pred"},
            {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"},
        ]},
        **(inference or {}),
    }  # fmt: skip
    (folder / "configs" / "metadata.json").write_text(json.dumps(words))
    (folder / "configs" / "inference.json").write_text(json.dumps(steps))
    return folder


def test_a_bundle_becomes_a_reader(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b")
    draft = read_draft(folder)
    assert (draft.reader, draft.version.split("+")[0]) == ("lung-segmentation", "0.3.1")
    manifest = draft.statement.manifest
    assert manifest is not None
    assert (manifest.input.axes, manifest.input.window, manifest.input.size) == ("RAS", (-1024, 0), (16, 16, 4))
    assert manifest.output.classes[0].code == code("lung")
    # What is left out stands on the card.
    assert any("KeepLargestConnectedComponent" in limit for limit in draft.statement.card.limits)
    reading, output = read(folder, chest(two_spots()))
    assert reading.findings[0].code == code("lung")
    (segment,) = output.segments.values()
    assert segment.mask.sum() == 24 + 32


STEPS = {"_target_": "Compose"}


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ({"inference": {"preprocessing": {**STEPS, "transforms": [{"_target_": "monai.transforms.Foregroundd"}]}}},
         "step Foreground before the network is not known"),
        ({"inference": {"preprocessing": "$__import__('os').system('true')"}}, "nothing in a bundle is evaluated"),
        ({"inference": {"preprocessing": {**STEPS, "transforms": [{"_target_": "Orientationd", "axcodes": "$e()"}]}}},
         "axcodes is an expression"),
        ({"inference": {"preprocessing": {**STEPS, "transforms": []}}}, "how intensities are scaled"),
        ({"inference": {"inferer": {"roi_size": "@roi"}}}, "no fixed size of a patch"),
        ({"metadata": {"network_data_format": {"inputs": {}, "outputs": {}}}}, "has 0 inputs"),
        ({"metadata": {"network_data_format": "x"}}, "not what MONAI writes"),
        ({"network": "model.pt"}, "neither models/model.onnx nor models/model.ts"),
    ],
)  # fmt: skip
def test_a_bundle_that_cannot_be_translated_is_refused(tmp_path: Path, parts: dict[str, Any], why: str) -> None:
    with pytest.raises(ReadingRoomError, match=why):
        read_draft(bundle(tmp_path / "b", **parts))


def test_a_bundle_of_several_classes_gives_each_its_own_code(tmp_path: Path) -> None:
    pred = {"type": "image", "format": "segmentation", "num_channels": 3}
    pred["channel_def"] = {"0": "background", "1": "Lung", "2": "Spleen of a unicorn"}
    words = json.loads((bundle(tmp_path / "b") / "configs/metadata.json").read_text())["network_data_format"]
    draft = read_draft(bundle(tmp_path / "c", metadata={"network_data_format": {**words, "outputs": {"pred": pred}}}))
    manifest = draft.statement.manifest
    assert manifest is not None
    assert manifest.output.activation == "softmax"
    first, second = manifest.output.classes
    assert (first.channel, first.code) == (1, code("lung"))
    assert (second.channel, second.code.scheme, second.code.meaning) == (2, "99READINGROOM", "Spleen of a unicorn")


def test_a_bundle_of_the_zoo_s_shape_is_translated(tmp_path: Path) -> None:
    """The parts that matter of the model zoo's spleen_ct_segmentation, in our own fixture."""
    steps = [
        {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", "a_min": -57, "a_max": 164, "b_min": 0, "b_max": 1, "clip": True},
        {"_target_": "EnsureTyped", "keys": "image"},
    ]
    after = [
        {"_target_": "Activationsd", "keys": "pred", "softmax": True},
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        {"_target_": "SaveImaged", "output_dir": "@output_dir"},
    ]
    words = json.loads((bundle(tmp_path / "b") / "configs/metadata.json").read_text())["network_data_format"]
    channels = {"0": "background", "1": "spleen"}
    pred = {"type": "image", "format": "segmentation", "num_channels": 2, "channel_def": channels}
    draft = read_draft(
        bundle(
            tmp_path / "c",
            metadata={"name": None, "task": "Spleen", "network_data_format": {**words, "outputs": {"pred": pred}}},
            inference={
                "imports": ["$import os"],
                "preprocessing": {"_target_": "Compose", "transforms": steps},
                "postprocessing": {"_target_": "Compose", "transforms": after},
                "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "overlap": 0.5},
            },
        )
    )
    manifest = draft.statement.manifest
    assert manifest is not None
    takes, gives = manifest.input, manifest.output
    assert (draft.reader, takes.spacing_mm, takes.window, takes.overlap) == ("spleen", (1.5, 1.5, 2.0), (-57, 164), 0.5)
    assert (gives.activation, [(c.channel, c.threshold) for c in gives.classes]) == ("softmax", [(1, 0.0)])
    assert manifest.notes == ("Its makers say: An example, not for use on patients.",)


def test_torchscript_is_made_onnx_or_refused_in_plain_words(settings: Settings, tmp_path: Path) -> None:
    broken = bundle(tmp_path / "broken", network="model.ts")
    with pytest.raises(ReadingRoomError, match=r"TorchScript.*(could not be made ONNX|torch is not installed)"):
        read_package(broken, partial(torchscript_to_onnx, settings))
    torch = pytest.importorskip("torch", reason="torch is an extra")
    folder = bundle(tmp_path / "b", network="model.ts")
    network = torch.nn.Conv3d(1, 1, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    torch.jit.script(torch.nn.Sequential(network, torch.nn.Identity())).save(folder / "models" / "model.ts")
    draft = read_package(folder, partial(torchscript_to_onnx, settings))
    found = loaded(draft, tmp_path)
    assert found.error == ""


# Other weights for a reader that is installed


def test_weights_of_another_reader_or_with_another_hash_are_refused(settings: Settings, tmp_path: Path) -> None:
    from readingroom.readers.lung_nodule.reader import HERE

    folder = tmp_path / "run"
    (folder / "weights").mkdir(parents=True)
    for path in (HERE / "weights").iterdir():
        if path.is_file():
            (folder / "weights" / path.name).write_bytes(path.read_bytes())
    (folder / "card.yaml").write_text((HERE / "card.yaml").read_text("utf-8"), "utf-8")
    draft = read_draft(folder)
    assert draft.statement.kind == "weights"
    found = loaded(draft, tmp_path)
    assert found.error == ""
    assert found.reader is not None
    assert found.reader.card.version == draft.version
    other = (folder / "card.yaml").read_text("utf-8").replace("name: lung-nodule", "name: other-reader")
    (folder / "card.yaml").write_text(other, "utf-8")
    assert "is not installed" in loaded(read_draft(folder), tmp_path).error
    (folder / "weights" / "model.onnx").write_bytes(identity())
    with pytest.raises(ReadingRoomError, match="SHA-256 differs"):
        read_draft(folder)


def test_the_manifest_in_the_documents_is_one() -> None:
    page = (ROOT / "docs" / "rooms" / "learning.md").read_text("utf-8")
    manifest = Manifest.model_validate(yaml.safe_load(page.split("```yaml")[1].split("```")[0]))
    assert manifest.output.classes[0].code == code("lung")
