"""The regions there are norms for, by FreeSurfer's names: what is measured of each, in which table, and plain words.

``aseg`` structures are volumes (mm3); ``aparc`` regions (Desikan-Killiany) have a volume (mm3) and a thickness (mm).
A name without a side is both sides together: the sum of volumes, the mean of thicknesses.
"""

from collections.abc import Mapping
from typing import Literal

Kind = Literal["volume", "thickness", "asymmetry"]

PAIRED = (
    "Lateral-Ventricle", "Inf-Lat-Vent", "Cerebellum-White-Matter", "Cerebellum-Cortex", "Thalamus-Proper", "Caudate",
    "Putamen", "Pallidum", "Hippocampus", "Amygdala", "Accumbens-area", "VentralDC",
)  # fmt: skip
SINGLE = ("3rd-Ventricle", "4th-Ventricle", "Brain-Stem", "WM-hypointensities", "BrainSegVolNotVent")
CORTICAL = (
    "bankssts", "caudalanteriorcingulate", "caudalmiddlefrontal", "cuneus", "entorhinal", "fusiform",
    "inferiorparietal", "inferiortemporal", "isthmuscingulate", "lateraloccipital", "lateralorbitofrontal", "lingual",
    "medialorbitofrontal", "middletemporal", "parahippocampal", "paracentral", "parsopercularis", "parsorbitalis",
    "parstriangularis", "pericalcarine", "postcentral", "posteriorcingulate", "precentral", "precuneus",
    "rostralanteriorcingulate", "rostralmiddlefrontal", "superiorfrontal", "superiorparietal", "superiortemporal",
    "supramarginal", "frontalpole", "temporalpole", "transversetemporal", "insula",
)  # fmt: skip
SCHEME = "99FREESURFER"
"""Of the codes that name FreeSurfer's measures in a structured report."""
LARGEST = 1e8
"""No measure of a head is larger, in mm3 or mm."""
HEAD_SIZE = "EstimatedTotalIntraCranialVol"
"""FreeSurfer's estimate of the volume inside the skull, mm3: from the scale of the registration to an atlas."""
LARGER_IS_WORSE = frozenset(
    name for base in ("Lateral-Ventricle", "Inf-Lat-Vent") for name in (base, f"Left-{base}", f"Right-{base}")
) | {"3rd-Ventricle", "4th-Ventricle", "WM-hypointensities"}
MEDIAL_TEMPORAL = ("Hippocampus", "Amygdala", "Inf-Lat-Vent", "entorhinal_volume", "parahippocampal_volume")
OTHER_NAMES = {"Left-Thalamus": "Left-Thalamus-Proper", "Right-Thalamus": "Right-Thalamus-Proper"}
"""FreeSurfer 7's names, where they differ from those of the tables the norms come from."""

SIDED_VOLUMES = (
    *(f"{side}-{name}" for name in PAIRED for side in ("Left", "Right")),
    *SINGLE,
    *(f"{side}_{name}_volume" for name in CORTICAL for side in ("lh", "rh")),
)
THICKNESSES = tuple(f"{side}_{name}_thickness" for name in (*CORTICAL, "MeanThickness") for side in ("lh", "rh"))
BOTH_VOLUMES = (*PAIRED, *(f"{name}_volume" for name in CORTICAL))
BOTH_THICKNESSES = tuple(f"{name}_thickness" for name in (*CORTICAL, "MeanThickness"))
ASYMMETRIES = tuple(f"{name} asymmetry" for name in ("Hippocampus", "Amygdala", "Lateral-Ventricle"))
VOLUMES = (*SIDED_VOLUMES, *BOTH_VOLUMES)
NAMES: Mapping[Kind, tuple[str, ...]] = {
    "volume": VOLUMES,
    "thickness": (*THICKNESSES, *BOTH_THICKNESSES),
    "asymmetry": ASYMMETRIES,
}


def freesurfer_names(measured: Mapping[str, float]) -> dict[str, float]:
    """Return FreeSurfer's measures among the numbers of a structured report (``SCHEME CodeValue``), by its names."""
    marked = f"{SCHEME} "
    return {name.removeprefix(marked): value for name, value in measured.items() if name.startswith(marked)}


def with_both_sides(measured: Mapping[str, float]) -> dict[str, float]:
    """Return sided measures with those of both sides together, and asymmetries 2 (L - R) / (L + R), where both are.

    Measures of 0 or less are left out, nothing was segmented there; and what no head can have.
    """
    known = {OTHER_NAMES.get(name, name): float(value) for name, value in measured.items() if 0 < value < LARGEST}
    found = dict(known)
    for name in PAIRED:
        sides = [known.get(f"{side}-{name}") for side in ("Left", "Right")]
        if None not in sides:
            left, right = (float(one or 0) for one in sides)
            found[name] = left + right
            if f"{name} asymmetry" in ASYMMETRIES:
                found[f"{name} asymmetry"] = 2 * (left - right) / (left + right)
    for name in (*CORTICAL, "MeanThickness"):
        for what in ("volume", "thickness"):
            sides = [known.get(f"{side}_{name}_{what}") for side in ("lh", "rh")]
            if None not in sides:
                total = sum(float(one or 0) for one in sides)
                found[f"{name}_{what}"] = total if what == "volume" else total / 2
    return found


_WORDS = {
    "bankssts": "banks of superior temporal sulcus", "caudalanteriorcingulate": "caudal anterior cingulate",
    "caudalmiddlefrontal": "caudal middle frontal", "inferiorparietal": "inferior parietal",
    "inferiortemporal": "inferior temporal", "isthmuscingulate": "isthmus of cingulate",
    "lateraloccipital": "lateral occipital", "lateralorbitofrontal": "lateral orbitofrontal",
    "medialorbitofrontal": "medial orbitofrontal", "middletemporal": "middle temporal",
    "parsopercularis": "pars opercularis", "parsorbitalis": "pars orbitalis", "parstriangularis": "pars triangularis",
    "posteriorcingulate": "posterior cingulate", "rostralanteriorcingulate": "rostral anterior cingulate",
    "rostralmiddlefrontal": "rostral middle frontal", "superiorfrontal": "superior frontal",
    "superiorparietal": "superior parietal", "superiortemporal": "superior temporal", "frontalpole": "frontal pole",
    "temporalpole": "temporal pole", "transversetemporal": "transverse temporal", "MeanThickness": "whole cortex",
    "Lateral-Ventricle": "lateral ventricle", "Inf-Lat-Vent": "temporal horn", "Thalamus-Proper": "thalamus",
    "Cerebellum-White-Matter": "cerebellar white matter", "Cerebellum-Cortex": "cerebellar cortex",
    "Accumbens-area": "accumbens", "VentralDC": "ventral diencephalon", "3rd-Ventricle": "third ventricle",
    "4th-Ventricle": "fourth ventricle", "Brain-Stem": "brain stem",
    "WM-hypointensities": "white matter hypointensities", "BrainSegVolNotVent": "whole brain without ventricles",
}  # fmt: skip


def words_of(name: str) -> str:
    """Return a region's name in plain words, with its side and what is measured of it."""
    base, _, asymmetry = name.partition(" ")
    side, kind = "", "volume"
    for mark, said in (("Left-", "left "), ("Right-", "right "), ("lh_", "left "), ("rh_", "right ")):
        if base.startswith(mark):
            side, base = said, base.removeprefix(mark)
    for one in ("volume", "thickness"):
        if base.endswith(f"_{one}"):
            base, kind = base.removesuffix(f"_{one}"), one
    return f"{side}{_WORDS.get(base, base.lower())}, {asymmetry or kind}"
