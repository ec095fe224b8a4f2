"""FreeSurfer's files of a made-up person, and tables of made-up people laid out like the data folder's."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from readingroom.readers.alzheimer.assess import Assessor
from readingroom.readers.alzheimer.norms import curve
from readingroom.readers.alzheimer.regions import CORTICAL, HEAD_SIZE, PAIRED, SIDED_VOLUMES, SINGLE, THICKNESSES

HEAD_MM3 = 1.5e6


def typical(z: float = 0.0, age: float = 75, male: bool = False, **others: float) -> dict[str, float]:
    """Measures of somebody who is ``z`` from the norm everywhere, but for ``others`` (name, - and space as _ -> z)."""
    found = {HEAD_SIZE: HEAD_MM3}
    tables = Assessor().norms.tables
    for kind, names in (("volume", SIDED_VOLUMES), ("thickness", THICKNESSES)):
        for name in names:
            at = others.get(name.replace("-", "_"), z)
            found[name] = curve(tables[kind], name, [age], male, HEAD_MM3, at)[0]  # type: ignore[index]
    return found


def stats_files(measured: Mapping[str, float]) -> dict[str, str]:
    """``aseg.stats``, ``lh.aparc.stats``, ``rh.aparc.stats`` as FreeSurfer writes them, of a planted name."""
    head = [
        "# Title Segmentation Statistics ", "# generating_program mri_segstats", "# cvs_version 7.4.1",
        "# subjectname PLANTED^NAME",
    ]  # fmt: skip
    aseg = [
        *head,
        f"# Measure BrainSegNotVent, BrainSegVolNotVent, Brain Segmentation Volume Without Ventricles, "
        f"{measured['BrainSegVolNotVent']:.6f}, mm^3",
        f"# Measure EstimatedTotalIntraCranialVol, eTIV, Estimated Total Intracranial Volume, "
        f"{measured[HEAD_SIZE]:.6f}, mm^3",
        "# ColHeaders  Index SegId NVoxels Volume_mm3 StructName normMean normStdDev normMin normMax normRange ",
    ]
    structures = [f"{side}-{name}" for side in ("Left", "Right") for name in PAIRED]
    structures += [name for name in SINGLE if name != "BrainSegVolNotVent"]
    for n, name in enumerate(structures, 1):
        aseg.append(f"{n:3d} {n:3d} 1000 {measured[name]:9.2f} {name} 100.0 10.0 50.0 150.0 100.0")
    files = {"aseg.stats": "\n".join(aseg)}
    for side in ("lh", "rh"):
        lines = [
            "# Table of FreeSurfer cortical parcellation anatomical statistics ", *head[1:], f"# hemi {side}",
            f"# AnnotationFile ../label/{side}.aparc.annot",
            f"# Measure Cortex, MeanThickness, Mean Thickness, {measured[f'{side}_MeanThickness_thickness']:.5f}, mm",
            "# ColHeaders StructName NumVert SurfArea GrayVol ThickAvg ThickStd MeanCurv GausCurv FoldInd CurvInd",
        ]  # fmt: skip
        lines += [
            f"{name} 1000 700 {measured[f'{side}_{name}_volume']:.1f} {measured[f'{side}_{name}_thickness']:.4f} 0.5 "
            "0.1 0.02 10 1"
            for name in CORTICAL
        ]
        files[f"{side}.aparc.stats"] = "\n".join(lines)
    return files


def write_tables(folder: Path, seed: int = 5, oasis: int = 90, ixi: int = 80) -> Path:
    """Tables like those of ``alzheimer_tables``: volumes shrink with age, and by more than an SD with dementia."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    volumes, about = [], []
    for n in range(1, oasis + 1):
        age = int(random.integers(45, 92))
        ill = age >= 60 and random.random() < 0.5
        male = random.random() < 0.4
        scale = random.uniform(0.9, 1.5)
        head = 1755 / scale
        own = random.normal(0, 0.12)
        row: dict[str, object] = {"Measure:volume": f"sub{n}"}
        for name in SIDED_VOLUMES:
            shrunk = np.exp(-0.05 * (age - 60) / 10 + own + random.normal(0, 0.1) - 0.2 * ill)
            native = 4000 * shrunk * (head / 1500) ** 0.8
            row[name] = round(native * scale, 3)
        volumes.append(row)
        about.append({
            "ID": f"OAS1_{n:04d}_MR1", "M/F": "M" if male else "F", "Age": age, "CDR": 0.5 if ill else 0,
            "eTIV": round(head), "ASF": round(scale, 3),
        })  # fmt: skip
    thick, who = [], []
    for n in range(ixi):
        age = random.uniform(20, 80)
        mm = {name: 2.7 - 0.05 * (age - 60) / 10 + random.normal(0, 0.12) for name in THICKNESSES}
        thick.append({"participant_id": f"sub-IXI{n:03d}", "BrainSegVolNotVent": 1.1e6, "eTIV": 1.5e6} | mm)
        who.append({"participant_id": f"sub-IXI{n:03d}", "age": age, "sex": 1 + n % 2, "site": "ixi"})
    for name, rows in (
        ("freesurfer_features_hejazizo_data.csv", volumes), ("oasis_cross-sectional.csv", about),
        ("IXI_aparc_thickness.csv", thick), ("IXI_age_gender.csv", who),
    ):  # fmt: skip
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder
