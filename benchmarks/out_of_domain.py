"""What lung-nodule's out-of-domain score says of whole scans, as they are and changed in ways that happen, and others.

Run: python benchmarks/out_of_domain.py. Writes benchmarks/out_of_domain.md. Nothing is chosen by it: the thresholds
come from training patients (readers/lung_nodule/domain.py), and these scans are for testing only, but for the last of
``IN_DOMAIN``, of which the reader has seen the background.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import heading
from scipy import ndimage

from readingroom.imaging.series import read_series
from readingroom.imaging.simulate import write_chest_ct
from readingroom.imaging.volume import Volume
from readingroom.readers.contract import ReadingOutput, ReadingRequest, SeriesType, TypedSeries
from readingroom.readers.lung_nodule.reader import LungNoduleReader

DATA = Path(__file__).parents[2] / "shared" / "data"
IN_DOMAIN = ("lung_ct_lidc_0314", "lung_ct_rtstruct_lung1_001", "lung_ct_cptac_c3n00247")
HEAD = "dicom_interop/orthanc/Brainix/Flair"
SEED = 20261130


def main() -> None:
    reader = LungNoduleReader()
    lines = [
        "| image | image score | network score | what the reader does |",
        "|---|---|---|---|",
    ]
    for name, volume in cases():
        output = reader.read(ReadingRequest("1.2", (_typed(volume),)), lambda step, done: None)
        lines.append(f"| {name} | {_score(output, 'image')} | {_score(output, 'network')} | {_does(output)} |")
        print(lines[-1], flush=True)
    text = [
        heading("Out of domain: lung-nodule", ", ".join((*IN_DOMAIN, HEAD))),
        f"Version {reader.card.version}. Scores: 1 is the threshold of each. No score: it abstained before it looked.",
        "", *lines,
    ]  # fmt: skip
    Path(__file__).with_suffix(".md").write_text("\n".join(text) + "\n", "utf-8")


def cases() -> Iterator[tuple[str, Volume]]:
    """Scans as they are, then the first of them changed."""
    volumes = {name: _volume(name) for name in IN_DOMAIN}
    yield from volumes.items()
    volume = volumes[IN_DOMAIN[0]]
    hu = volume.array.astype(np.float32)
    random = np.random.default_rng(SEED)

    def changed(array: np.ndarray, affine: np.ndarray | None = None) -> Volume:
        made = np.clip(np.rint(array), -2048, 3071).astype(np.int16)
        return replace(volume, array=made, affine=volume.affine if affine is None else affine)

    for offset in (100, 200, 500):
        yield f"+{offset} HU", changed(hu + offset)
    yield "without its intercept (+1024 HU)", changed(hu + 1024)
    yield "half the slope", changed((hu + 1024) / 2 - 1024)
    yield "inverted", changed(-1024 - hu)
    for noise in (50, 100, 200):
        yield f"white noise added, {noise} HU", changed(hu + random.normal(0, noise, hu.shape))
    for blur in (2.0, 4.0):
        yield f"blurred, {blur:g} mm", changed(ndimage.gaussian_filter(hu, [blur / mm for mm in volume.spacing_mm]))
    half = ndimage.zoom(ndimage.uniform_filter(hu, 2), 0.5, order=1)
    yield "half the resolution, each axis", changed(half, volume.affine @ np.diag([2, 2, 2, 1]))
    yield "pixel size and spacing given twice too large", changed(hu, volume.affine @ np.diag([2, 2, 2, 1]))
    yield "pixel size and spacing given half as large", changed(hu, volume.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    yield "upside down, geometry not told", changed(hu[:, ::-1])
    yield "slices in random order", changed(hu[random.permutation(len(hu))])
    yield "HU clipped to a bone window (-200 to 1000)", changed(np.clip(hu, -200, 1000))
    yield "white noise alone", changed(random.normal(-400, 300, hu.shape))
    yield "one value", changed(np.full_like(hu, -800))
    yield "MR of a head, taken for CT", _as_ct(_volume(HEAD))
    with TemporaryDirectory() as folder:
        yield "simulated chest", _whole(write_chest_ct(Path(folder), slices=150, rows=256).files)


def _as_ct(volume: Volume) -> Volume:
    """Grey values of 0 and more moved to HU, slices made as near as the reader wants them."""
    array = volume.array.astype(np.float32)
    stretched = ndimage.zoom(array / array.max() * 1200 - 1000, (2, 1, 1), order=1)
    scale = np.diag([len(array) / len(stretched), 1, 1, 1])
    lps = volume.affine.copy()
    lps[:, :3] = lps[:, :3] @ scale[:3, :3]
    return replace(volume, array=stretched.astype(np.int16), unit="HU", affine=lps)


def _volume(name: str) -> Volume:
    return _whole(sorted((DATA / name).glob("[0-9I]*.dcm")))


def _whole(files: Sequence[Path]) -> Volume:
    volume = read_series(files).volume
    assert volume is not None
    return volume


def _typed(volume: Volume) -> TypedSeries:
    kind = SeriesType(modality="CT", kind="ct-volume", region="chest", plane="axial")
    return TypedSeries(volume.series_instance_uid, kind, volume)


def _score(output: ReadingOutput, name: str) -> str:
    score = output.input_statistics.get(f"out_of_domain_{name}")
    return "" if score is None else f"{score:.2f}"


def _does(output: ReadingOutput) -> str:
    return f"abstains: {output.abstained}" if output.abstained else f"reads: {len(output.findings)} marks"


if __name__ == "__main__":
    main()
