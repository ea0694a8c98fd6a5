"""The routes, one file for each topic. A new route also needs a line in `memr_service.app.auth.ROUTES`."""

from memr_service.app.routes import checkpoints, dashboard, health, insight, openrlhf, planning, reward, runs, suspects

TOPICS = (reward, openrlhf, runs, checkpoints, insight, planning, suspects, health, dashboard)

ALL_ROUTES = [route for topic in TOPICS for route in topic.router.routes]
"""They keep nothing of an app, so that apps share them. Including their routers would build them again for each app."""
