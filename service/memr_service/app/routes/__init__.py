"""The routes, one file for each kind. A new route also needs its line in `guard.ROUTES`, or it does not exist."""

from memr_service.app.routes import checkpoints, dashboard, insight, openrlhf, reward, runs, server

ROUTERS = (
    reward.router,
    openrlhf.router,
    runs.router,
    checkpoints.router,
    insight.router,
    server.router,
    dashboard.router,
)
