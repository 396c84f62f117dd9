"""Routes of the HTTP service, by subject."""

from service.routes import experiments, health, listings, models, prices

ROUTERS = tuple(one.router for one in (listings, prices, models, experiments, health))

__all__ = ["ROUTERS"]
