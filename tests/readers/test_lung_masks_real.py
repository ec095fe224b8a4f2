"""Lung masks against a person's: the RTSTRUCT of one CT with a tumour, which is for testing only."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydicom import dcmread
from pydicom.dataset import Dataset

from readingroom.imaging.series import read_series
from readingroom.imaging.volume import Volume
from readingroom.readers.lung_nodule.grid import resample
from readingroom.readers.lung_nodule.lungs import aerated_lungs


def drawn(structures: Dataset, name: str, volume: Volume) -> np.ndarray:
    """The structure called ``name`` as a mask on the volume's grid: contours filled, holes by even and odd."""
    number = next(s.ROINumber for s in structures.StructureSetROISequence if s.ROIName == name)
    contours = next(s for s in structures.ROIContourSequence if s.ReferencedROINumber == number).ContourSequence
    mask = np.zeros(volume.array.shape, bool)
    for contour in contours:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        index = np.stack([volume.to_index(p) for p in points])
        plane = Image.new("1", mask.shape[:0:-1])
        ImageDraw.Draw(plane).polygon([(float(i), float(j)) for _, j, i in index], fill=1)
        mask[round(float(index[0, 0]))] ^= np.array(plane, bool)
    return mask


@pytest.mark.data
@pytest.mark.slow
def test_the_lungs_are_those_a_person_drew(shared_data: Path) -> None:
    folder = shared_data / "lung_ct_rtstruct_lung1_001"
    volume = read_series(sorted(p for p in folder.rglob("*.dcm") if p.name != "rtstruct.dcm")).volume
    assert volume is not None
    structures = dcmread(folder / "rtstruct.dcm")
    person = {side: drawn(structures, f"Lung-{side}", volume) for side in ("Left", "Right")}
    grid = resample(volume, 2.0)
    found = aerated_lungs(grid.hu, 2.0, top_first=float(volume.affine[2, 2]) < 0)
    assert not found.problem
    at = np.stack(np.meshgrid(*(np.arange(n) for n in grid.hu.shape), indexing="ij"), axis=-1)
    source = np.rint(grid.to_source(at)).astype(int)
    source = np.minimum(source, np.array(volume.array.shape) - 1)
    theirs = {side: mask[tuple(np.moveaxis(source, -1, 0))] for side, mask in person.items()}
    # LPS x rises to the left: the lung with the larger mean column is the left one in this CT.
    ours = dict(zip(("Right", "Left"), sorted(found.masks, key=lambda m: np.argwhere(m)[:, 2].mean()), strict=True))
    for side in ("Left", "Right"):
        dice = 2 * (ours[side] & theirs[side]).sum() / (ours[side].sum() + theirs[side].sum())
        print(
            f"{side}: Dice {dice:.3f}, {theirs[side].sum() * 8e-6:.2f} l drawn, {ours[side].sum() * 8e-6:.2f} l found"
        )
        assert dice > 0.93, side
