"""Pages for people: what they show, how they are rendered, and what their forms do."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from canary_middleware.panel.pages.doing import Forms
from canary_middleware.panel.pages.live import Live, Watch
from canary_middleware.panel.pages.plots import Charts
from canary_middleware.panel.pages.showing import Views
from canary_middleware.panel.site import Site

__all__ = ["routes"]


def routes(site: Site) -> list[BaseRoute]:
    """All of them; whatever is before them has let the asker in.

    It must have set ``request.state.person``, ``address`` and ``csrf``.
    """
    charts = Charts(site.store)
    views, forms, live = Views(site, charts), Forms(site), Live(Watch(site, charts))
    return [
        Route("/", views.overview),
        Route("/history", views.history),
        Route("/processes", views.processes),
        Route("/events", live.events),
        Route("/rollouts/{name}", views.rollout),
        *(Route(f"/{verb}", forms.ask) for verb in ("kill", "revive")),
        *(Route(f"/{verb}", forms.do, methods=["POST"]) for verb in ("kill", "revive")),
        Route("/rollouts/{name}/{verb}", forms.ask),
        Route("/rollouts/{name}/{verb}", forms.do, methods=["POST"]),
    ]
