"""Points of charts as Hypothesis draws them: what is counted of a run only grows."""

from __future__ import annotations

from hypothesis import strategies as st

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.series import PHASES, SLOT, Counts, Head, Point, Value, Version, total
from canary_middleware.core.totals import MAX_COUNT, VALUES
from canary_middleware.core.weight import FULL

NAMES = st.sampled_from(["paid", "searched", "größe", "x" * 64])
FEW = st.integers(0, 2**20)
CAPS = st.sampled_from([0.0, 0.5, 200.0, 1e12])
LABELS = {Cohort.CANARY: "2.0", Cohort.STABLE: "1.0"}


def sparse(buckets: int, most: int = 2**20) -> st.SearchStrategy[dict[int, int]]:
    return st.dictionaries(st.integers(0, buckets - 1), st.integers(1, most), max_size=8)


def counts(most: int = 2**20) -> st.SearchStrategy[Counts]:
    number = st.integers(0, most)
    return st.builds(
        Counts, number, number, number, sparse(BUCKETS, most),
        st.dictionaries(NAMES, st.tuples(number, number), max_size=3),
        st.dictionaries(st.builds(Value, NAMES, CAPS), sparse(VALUES, most), max_size=3),
    )  # fmt: skip


heads = st.builds(
    lambda slot, hundredths, *rest: Head(slot, slot * SLOT + hundredths / 100, *rest),
    st.integers(1, 2**31), st.integers(0, 99 * SLOT), st.integers(0, MAX_COUNT),
    st.integers(0, FULL), st.sampled_from(PHASES),
)  # fmt: skip


@st.composite
def points(draw: st.DrawFn) -> Point:
    """Any one."""
    cohorts = draw(st.lists(st.sampled_from(list(Cohort)), unique=True))
    versions = [Version(one, LABELS[one], draw(counts(MAX_COUNT))) for one in cohorts]
    return Point(draw(heads), tuple(versions))


@st.composite
def runs(draw: st.DrawFn) -> list[Point]:
    """Some of one run, in the order of time."""
    slots = sorted(draw(st.sets(st.integers(1, 9_000), min_size=2, max_size=8)))
    so_far = {cohort: draw(counts()) for cohort in LABELS}
    found = []
    for slot in slots:
        so_far = {cohort: total(one, draw(counts())) for cohort, one in so_far.items()}
        head = Head(slot, slot * SLOT + draw(FEW) % 1000 / 100, 7, 5_000, "ramping")
        versions = (Version(one, LABELS[one], so_far[one]) for one in LABELS)
        found.append(Point(head, tuple(versions)))
    return found
