"""The routes, one file for each kind. A new route also needs its line in `guard.ROUTES`, or it does not exist."""

from memr_service.app.routes import checkpoints, dashboard, health, insight, openrlhf, reward, runs

ROUTERS = (
    reward.router,
    openrlhf.router,
    runs.router,
    checkpoints.router,
    insight.router,
    health.router,
    dashboard.router,
)
