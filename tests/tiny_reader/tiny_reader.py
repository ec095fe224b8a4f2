"""A reader of a package of its own: marks the brightest region of a volume, and misbehaves when a test asks it to.

``TINY_READER_MODE``: empty (works), ``crash`` (raises), ``exit`` (ends its process), ``hang``, ``memory`` (takes memory
without end), ``abstain``, ``nothing``, ``heat`` (a heat map that leaves 0..1), ``import`` (cannot even be imported).
``TINY_READER_SECONDS``: sleep so long while reading.
"""

import os
import time

import numpy as np

from readingroom.core.ids import sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, Measurement, PatientPlace, SegmentMask, SimilarCase
from readingroom.readers.contract import Applicability, Card, Progress, ReadingOutput, ReadingRequest, TypedSeries

MODE = os.environ.get("TINY_READER_MODE", "")
if MODE == "import":
    raise ImportError("asked to by TINY_READER_MODE")

CARD = Card(
    name="tiny-brightest",
    version="1.0.0",
    title="Brightest region (test reader)",
    question="Where is the brightest voxel?",
    takes="Any volume",
    finds=(code("nodule"),),
    evidence_level=0,
    evidence="None: a test reader.",
    operating_point=0.5,
    limits=("For tests only.",),
    weights_licence="no weights",
    data=("none",),
)


class TinyBrightest:
    card = CARD

    @property
    def weights_sha256(self) -> str:
        return ""

    @property
    def configuration_sha256(self) -> str:
        return sha256_hex("tiny-brightest", CARD.version)

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        usable = [s for s in series if s.type.kind in ("ct-volume", "mr-volume")]
        if not usable:
            return Applicability(applies=False, reason="There is no volume in this study.")
        return Applicability(
            applies=True, reason="There is a volume.", series_instance_uids=(usable[0].series_instance_uid,)
        )

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput:
        mode = os.environ.get("TINY_READER_MODE", "")
        progress("look", 0.1)
        time.sleep(float(os.environ.get("TINY_READER_SECONDS", "0")))
        if mode == "crash":
            raise RuntimeError("Doe^Jane must never be shown")
        if mode == "exit":
            os._exit(17)
        if mode == "hang":
            while True:
                time.sleep(1)
        if mode == "memory":
            hoard = []
            while True:
                hoard.append(np.ones(16 << 20, np.uint8))
        if mode == "abstain":
            return ReadingOutput(abstained="Asked to abstain.")
        if mode == "nothing":
            return ReadingOutput()
        volume = request.series[0].volume
        if volume is None:
            return ReadingOutput(abstained="The series gave no volume.")
        at = np.array(np.unravel_index(int(volume.array.argmax()), volume.array.shape))
        low = np.maximum(at - 1, 0)
        high = np.minimum(at + 2, volume.array.shape)
        mask = np.ones(tuple(high - low), bool)
        x, y, z = (float(c) for c in volume.to_lps(at))
        progress("mark", 0.9)
        peak = Measurement(
            code=code("attenuation"), value=float(volume.array.max()), unit=code("hounsfield"), method="brightest voxel"
        )
        finding = Finding(
            id="brightest",
            code=code("nodule"),
            place=PatientPlace(frame_of_reference_uid=volume.frame_of_reference_uid, position_lps_mm=(x, y, z)),
            probability=0.9,
            measurements=(peak,),
            evidence=Evidence(
                rule="The brightest voxel of the volume.",
                heat_map="brightest-heat",
                similar=(SimilarCase(case="made-up-1", distance=0.5, description="a bright voxel"),),
            ),
            segment="brightest",
            series_instance_uid=volume.series_instance_uid,
        )
        segment = SegmentMask(
            volume.series_instance_uid,
            (int(low[0]), int(low[1]), int(low[2])),
            mask,
            volume.sop_instance_uids[int(low[0]) : int(high[0])],
        )
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        heat = (volume.array[box] == peak.value).astype(np.float32)
        if mode == "heat":
            heat *= 2
        return ReadingOutput((finding,), {"brightest": segment}, {"brightest-heat": heat})
