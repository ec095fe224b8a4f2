"""The body in a coarse volume: what is patient, with its lungs and bowel, and what is table and air."""

import numpy as np
from scipy import ndimage

_CROSS = ndimage.generate_binary_structure(3, 1)


def body_mask(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return the patient as a mask ``(z, y, x)``, cavities filled, from a volume as ``along_patient`` gives it.

    ``threshold``: denser is tissue (CT: -400 HU). Filled first, then opened: a thin chest wall stays closed while the
    table, thin itself, falls away.
    """
    tissue = _largest(values > threshold)
    # Slice by slice: airway and cut faces open the body at both ends of the scan.
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in tissue])
    # Of one or two slices nothing is left by an opening in three directions.
    return _largest(ndimage.binary_opening(filled, _CROSS if len(filled) > 2 else _CROSS[1:2]))


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()))
