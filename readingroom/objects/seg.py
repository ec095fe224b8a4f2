"""Findings' segments to DICOM Segmentation (binary, one segment a finding, one object a source series).

Only slices that some segment touches become frames; a reader pads to the source geometry by position (PS3.3 C.8.20).
"""

from collections import defaultdict
from dataclasses import dataclass

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from readingroom.core.errors import BadInput
from readingroom.findings.codes import structures
from readingroom.findings.model import Finding
from readingroom.objects.common import MANUFACTURER, MODEL, concept, finish, named
from readingroom.objects.content import ENCODER_VERSION, ContentFinding, Decision, ReportContent
from readingroom.objects.source import short, slice_order, spacing_along_normal

_NEEDED = (
    "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID",
)  # fmt: skip
_ALGORITHM_TYPE: dict[Decision, SegmentAlgorithmTypeValues] = {
    "unread": SegmentAlgorithmTypeValues.AUTOMATIC,
    "accepted": SegmentAlgorithmTypeValues.AUTOMATIC,
    "edited": SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
    "added": SegmentAlgorithmTypeValues.MANUAL,
}


@dataclass(frozen=True, eq=False)
class SegObject:
    """One written SEG. ``segment_of``: index of the finding in the content -> its segment number here."""

    role: str
    data: bytes
    dataset: Dataset
    segment_of: dict[int, int]


def encode_segs(content: ReportContent) -> tuple[SegObject, ...]:
    """Return one SEG for each source series that has segments, the first with role ``seg``, then ``seg-2`` ...

    Raises BadInput where a mask does not fit its source images.
    """
    by_series: dict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(content.findings):
        if item.mask is not None and item.mask.mask.any():
            by_series[item.mask.series_instance_uid].append(index)
    return tuple(
        _encode(content, series, by_series[series], "seg" if number == 0 else f"seg-{number + 1}", number)
        for number, series in enumerate(sorted(by_series))
    )


def _encode(content: ReportContent, series: str, indices: list[int], role: str, number: int) -> SegObject:
    items = [content.findings[index] for index in indices]
    images = [ds for ds in content.sources if ds.get("SeriesInstanceUID") == series]
    pixels = _pixels(images, items)
    used = {uid for uid, _number in pixels}
    touched = [ds for ds in images if ds.SOPInstanceUID in used]
    rows, columns = touched[0].Rows, touched[0].Columns
    if any((ds.Rows, ds.Columns) != (rows, columns) for ds in touched):
        raise BadInput("The source images of a segment are not all of one size.")
    numbers = range(1, len(items) + 1)
    thickness = spacing_along_normal(images)
    segmentation = Segmentation(
        # highdicom looks at every pixel of every segment on every image. One pixel each tells it which segment is on
        # which image, and the frames, nearly all of them empty, are packed here.
        source_images=[_one_pixel(ds, thickness) for ds in touched],
        pixel_array=np.array([[[[(ds.SOPInstanceUID, n) in pixels for n in numbers]]] for ds in touched]),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(content, item, n) for n, item in zip(numbers, items, strict=True)],
        series_instance_uid=content.uid(role, series, "series"),
        series_number=901 + number,
        sop_instance_uid=content.uid(role, series),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=f"encoder {ENCODER_VERSION}",
        device_serial_number="1",
        omit_empty_frames=True,
        content_label="FINDINGS",
        content_description=short(f"{'Verified' if content.verified else 'Unverified'} findings, research use", 64),
        content_qualification="RESEARCH",
        series_description=("Findings (signed)" if content.verified else "AI findings (unverified)"),
        specific_character_set="ISO_IR 192",
    )
    segmentation.Rows, segmentation.Columns = rows, columns
    segmentation.SegmentsOverlap = "YES" if _overlap(pixels) else "NO"
    segmentation.PixelData = _packed(segmentation, pixels)
    _fix_dimension_uid(segmentation, content.uid(role, series, "dimensions"))
    data = finish(segmentation, content)
    return SegObject(role, data, segmentation, dict(zip(indices, numbers, strict=True)))


def _one_pixel(ds: Dataset, thickness_mm: float) -> Dataset:
    """Return a copy of the header as if it had one pixel, with a Slice Thickness: Type 2 in an image, needed here."""
    copied = Dataset(dict(ds.items()))
    copied.add_new("Rows", "US", 1)
    copied.add_new("Columns", "US", 1)
    if not ds.get("SliceThickness"):
        copied.add_new("SliceThickness", "DS", DSfloat(thickness_mm, auto_format=True))
    return copied


def _fix_dimension_uid(segmentation: Segmentation, uid: str) -> None:
    # highdicom makes a random one.
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def _pixels(images: list[Dataset], items: list[ContentFinding]) -> dict[tuple[str, int], np.ndarray]:
    """Return which pixels each segment has on each image it touches, counted row by row from 0.

    By SOP Instance UID and segment number. Raises BadInput where a mask or an image is not fit for it.
    """
    pixels = {}
    for number, item in enumerate(items, 1):
        assert item.mask is not None
        _, top, left = item.mask.offset
        for ds, plane in zip(slice_order(images, item.mask), item.mask.mask, strict=True):
            if not plane.any():
                continue
            if any(key not in ds for key in _NEEDED):
                raise BadInput("A source image of a segment has no size, spacing, position or frame of reference.")
            if top < 0 or left < 0 or top + plane.shape[0] > ds.Rows or left + plane.shape[1] > ds.Columns:
                raise BadInput("A segment reaches beyond its source image.")
            row, column = np.nonzero(plane)
            pixels[ds.SOPInstanceUID, number] = (row + top) * ds.Columns + column + left
    return pixels


def _overlap(pixels: dict[tuple[str, int], np.ndarray]) -> bool:
    """Whether two segments share a pixel."""
    by_image: dict[str, list[np.ndarray]] = defaultdict(list)
    for (uid, _number), places in pixels.items():
        by_image[uid].append(places)
    together = [np.concatenate(places) for places in by_image.values()]
    return any(len(np.unique(places)) < len(places) for places in together)


def _packed(segmentation: Segmentation, pixels: dict[tuple[str, int], np.ndarray]) -> bytes:
    """Return Pixel Data: a bit a pixel, in the order of the frames that highdicom chose (PS3.5 section 8.1.1)."""
    groups = segmentation.PerFrameFunctionalGroupsSequence
    size = segmentation.Rows * segmentation.Columns
    packed = np.zeros(-(-len(groups) * size // 8), np.uint8)
    for n, group in enumerate(groups):
        uid = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        # The first dimension of a frame is its segment.
        bits = n * size + pixels[uid, group.FrameContentSequence[0].DimensionIndexValues[0]]
        np.bitwise_or.at(packed, bits // 8, (1 << bits % 8).astype(np.uint8))
    return packed.tobytes()


def _describe(content: ReportContent, item: ContentFinding, number: int) -> SegmentDescription:
    finding = item.finding
    algorithm = None
    if item.reader is not None:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=short(item.reader.name, 64),
            family=concept(item.reader.family),
            version=short(item.reader.version, 64),
            parameters=dict(text.split("=", 1) for text in item.reader.parameters()),
        )
    normal = (finding.code.value, finding.code.scheme) in structures()
    kind = _ALGORITHM_TYPE[item.decision] if algorithm is not None else SegmentAlgorithmTypeValues.MANUAL
    return SegmentDescription(
        segment_number=number,
        segment_label=short(_label(finding), 64),
        segmented_property_category=named("anatomical-structure" if normal else "morphologically-abnormal"),
        segmented_property_type=concept(finding.code),
        algorithm_type=kind,
        algorithm_identification=algorithm,
        tracking_uid=content.tracking_uid(finding),
        tracking_id=short(content.tracking_id(finding), 64),
        anatomic_regions=[concept(finding.site)] if finding.site else None,
    )


def _label(finding: Finding) -> str:
    side = f" {finding.side.value}" if finding.side and finding.side.value else ""
    return f"{finding.code.meaning}{side} {finding.id}"
