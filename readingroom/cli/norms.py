"""``readingroom norms --stats FILE ... --age N --sex F``: FreeSurfer's measures of one person against norms.

With ``--study`` and ``--dicom`` the measures are written as a DICOM structured report of that study: brought in, the
reader ``alzheimer`` reads them there.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, ReadingRoomError

LISTED = 20


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("norms", help="hold FreeSurfer's measures against norms for age, sex and head size")
    parser.add_argument(
        "--stats",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="aseg.stats, lh.aparc.stats, rh.aparc.stats",
    )
    parser.add_argument("--age", type=float, help="in years; else that of --study")
    parser.add_argument("--sex", choices=("F", "M"), help="else that of --study")
    parser.add_argument("--prevalence", type=float, help="share with dementia where this is asked (0 to 1)")
    parser.add_argument("--study", type=Path, metavar="FILE", help="a DICOM image of the person's study")
    parser.add_argument("--dicom", type=Path, metavar="FILE", help="write the measures as a structured report of it")
    parser.add_argument("--json", action="store_true", help="everything, as JSON, on standard output")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0, or 2 where the files or arguments can't be used."""
    from readingroom.intake.study import load_study
    from readingroom.readers.alzheimer.assess import Assessor
    from readingroom.readers.alzheimer.stats import read_stats

    try:
        if args.dicom and not args.study:
            raise BadInput("A structured report belongs to a study.", "Name an image of it with --study.")
        measured = read_stats([path.read_text("utf-8", errors="replace") for path in args.stats])
        age, sex = args.age, args.sex
        if args.study:
            known = load_study({"": [args.study]}).context
            age, sex = known.age_years if age is None else age, sex or known.sex
        answer = Assessor().assess(measured, age, sex, args.prevalence)
        if args.dicom:
            args.dicom.write_bytes(_report(measured, args.study))
    except ReadingRoomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    print(answer.model_dump_json(indent=1) if args.json else as_text(answer))
    return 0


def _report(measured: dict[str, float], study: Path) -> bytes:
    from readingroom.objects.measures_sr import encode_measures
    from readingroom.readers.alzheimer.regions import SCHEME

    units = {name: (value, "mm" if name.endswith("_thickness") else "mm3") for name, value in measured.items()}
    return encode_measures(units, SCHEME, "FreeSurfer", study, utc_now())


def as_text(answer: Any) -> str:
    """Return the answer for people: the regions furthest from the norm first."""
    lines = ["For research use only. A z-score is no diagnosis."]
    furthest = sorted(answer.regions, key=lambda region: -abs(region.z))
    for one in furthest[:LISTED]:
        lines.append(
            f"  {one.words}: z {one.z:+.2f} (95% CI {one.low:+.2f} to {one.high:+.2f}), {one.value:g} {one.unit}, "
            f"percentile {one.percentile:.1f}"
        )
    if len(furthest) > LISTED:
        lines.append(f"  and {len(furthest) - LISTED} regions nearer to the norm (--json lists all)")
    if answer.probability is not None:
        lines.append(
            f"Probability of dementia (CDR above 0): {answer.probability:.0%}, in a group of whom "
            f"{answer.prevalence:.0%} have it"
        )
    lines += [*answer.notes, *(_norm(one) for one in answer.norms)]
    return "\n".join(lines)


def _norm(one: Any) -> str:
    low, high = one.ages
    return f"Norms of {one.kind}: {one.controls} people of {one.source}, {low:.0f} to {high:.0f} years."
