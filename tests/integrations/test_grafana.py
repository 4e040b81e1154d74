"""``integrations/grafana/dashboard.json``: well formed, and it asks for what there is."""

from __future__ import annotations

from itertools import pairwise

from tests.integrations.dashboard import BOARD, panels, queries
from tests.integrations.promql import truth, unknown


def test_every_name_in_the_dashboard_exists() -> None:
    there = truth()
    asked = queries()
    assert len(asked) > 15
    wrong = {title: unknown(query, there) for title, query in asked.items()}
    assert {title: what for title, what in wrong.items() if what} == {}


def test_every_metric_is_shown() -> None:
    text = " ".join(queries().values())
    shown = {name for name in truth() if not name.endswith(("_sum", "_count"))}
    assert {name for name in shown if name not in text} == set()


def test_panels_have_numbers_of_their_own_and_places_that_do_not_overlap() -> None:
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = [panel["gridPos"]["y"] for panel in BOARD["panels"]]
    assert all(above <= below for above, below in pairwise(rows))


def test_everything_asks_the_chosen_source_and_says_what_it_is() -> None:
    assert [one["name"] for one in BOARD["templating"]["list"]] == ["datasource", "job", "rollout"]
    assert [one["name"] for one in BOARD["annotations"]["list"]] == ["Transitions", "Kills"]
    for panel in panels():
        assert panel["description"].endswith((".", ";")), panel["title"]
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
