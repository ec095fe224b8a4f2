"""What triage saves those with the finding and costs the others, over prevalence, operating point and load.

The simulated day of ``readingroom/worklist/day``, the same as on its page; no measurement of a real department. Beside
it the simulation is held against Cobham's formulas, so that its error is seen.

``python benchmarks/triage_day.py [--days 200] --out benchmarks/triage_day.md``
"""

import argparse
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

from common import heading

from readingroom.worklist.day.model import Case, Inputs, waits
from readingroom.worklist.day.summary import Group, Interval, Summary, simulate
from readingroom.worklist.priority import ROUTINE

SEED = 20261130
POINTS = ((0.95, 0.80), (0.80, 0.97), (0.60, 0.99))
"""Sensitivity and specificity of other made-up operating points."""
STREAM = 200_000
LOADS = (0.6, 0.8, 0.9)
RAISED = 0.2
MINUTES = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = "\n".join(
        [
            heading("Triage: a simulated day", f"invented; {options.days} days a row, seed {SEED}, paired"),
            *results(options.days),
            *against_theory(),
        ]
    )
    if options.out:
        kept = options.out.read_text("utf-8") if options.out.exists() else ""
        notes = kept[kept.index("## How to read this") :] if "## How to read this" in kept else ""
        options.out.write_text(f"{text}\n\n{notes}".rstrip() + "\n", "utf-8")
    print(text)
    return 0


def results(days: int) -> Iterator[str]:
    base = Inputs()
    yield (
        f"Unless a row says otherwise: {base.studies_per_day:.0f} studies a day, {base.radiologists} radiologists, "
        f"{base.reading_minutes:.0f} min a study (SD {base.reading_sd_minutes:.0f}), prevalence {base.prevalence:.0%}, "
        f"sensitivity {base.sensitivity:.0%}, specificity {base.specificity:.0%}, the reader's word after "
        f"{base.reader_minutes:.0f} min, {base.stat_share:.0%} ordered stat, {base.high_share:.0%} high. "
        "Minutes until somebody begins to read; mean and 95 % interval over days; below 0: lost.\n"
    )
    yield (
        "| what is set | load (busiest hour) | positives: wait without | saved, all | saved, found | saved, missed "
        "| negatives: saved | longest wait, without -> with |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    rows = [("as above", base)]
    rows += [(f"prevalence {share:.0%}", replace(base, prevalence=share)) for share in (0.02, 0.2)]
    rows += [
        (f"sensitivity {a:.0%}, specificity {b:.0%}", replace(base, sensitivity=a, specificity=b)) for a, b in POINTS
    ]
    rows += [(f"{n:.0f} studies a day", replace(base, studies_per_day=n)) for n in (80, 150, 180)]
    rows += [(f"reader {n:.0f} min", replace(base, reader_minutes=n)) for n in (10, 30)]
    for name, inputs in rows:
        yield _row(name, simulate(inputs, days, SEED))


def _row(name: str, summary: Summary) -> str:
    groups = {group.name: group for group in summary.groups}
    everybody = (groups["positives"], groups["negatives"])
    cells = [
        name,
        f"{summary.load:.0%} ({summary.peak_load:.0%})",
        _said(groups["positives"].wait_without),
        *(_saved(groups.get(one)) for one in ("positives", "found", "missed", "negatives")),
        f"{max(g.worst_without for g in everybody):.0f} -> {max(g.worst_with for g in everybody):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _saved(group: Group | None) -> str:
    return _said(group.saved) if group else "-"


def _said(one: Interval) -> str:
    ends = "" if one.low is None or one.high is None else f" ({one.low:.1f} to {one.high:.1f})"
    return f"{one.value:.1f}{ends}"


def against_theory() -> Iterator[str]:
    """Yield the table of one stationary stream of studies and what Cobham (1954) says of it."""
    yield (
        f"\nAgainst theory: {STREAM:,} studies at one rate, exponential reading times of {MINUTES:.0f} min, "
        f"{RAISED:.0%} raised at once; mean waits in minutes.\n"
    )
    yield (
        "| radiologists | load | raised: Cobham | simulated | others: Cobham | simulated | no triage: Erlang C "
        "| simulated |"
    )
    yield "|---|---|---|---|---|---|---|---|"
    for servers in (1, 3):
        for load in LOADS:
            rate = load * servers / MINUTES
            cases = _stream(rate, f"{SEED} {servers} {load}")
            found, alone = (waits(cases, servers, 0.0, triage=triage) for triage in (True, False))
            high, low = _cobham(servers, (rate * RAISED, rate * (1 - RAISED)))
            (plain,) = _cobham(servers, (rate,))
            raised = mean(w for w, case in zip(found, cases, strict=True) if case.flagged)
            others = mean(w for w, case in zip(found, cases, strict=True) if not case.flagged)
            numbers = (high, raised, low, others, plain, mean(alone))
            yield f"| {servers} | {load:.0%} | " + " | ".join(f"{one:.2f}" for one in numbers) + " |"


def _stream(rate: float, seed: str) -> list[Case]:
    rng, now, cases = random.Random(seed), 0.0, []
    for _ in range(STREAM):
        now += rng.expovariate(rate)
        cases.append(Case(now, rng.expovariate(1 / MINUTES), ROUTINE, False, rng.random() < RAISED))
    return cases


def _cobham(servers: int, rates: tuple[float, ...]) -> list[float]:
    """Mean waits of M/M/c with non-preemptive priorities (Cobham 1954), first class first; minutes."""
    erlangs = sum(rates) * MINUTES
    top = erlangs**servers / math.factorial(servers) * servers / (servers - erlangs)
    busy = top / (sum(erlangs**k / math.factorial(k) for k in range(servers)) + top)
    found, before = [], 0.0
    for rate in rates:
        upto = before + rate * MINUTES / servers
        found.append(busy * MINUTES / servers / ((1 - before) * (1 - upto)))
        before = upto
    return found


if __name__ == "__main__":
    sys.exit(main())
