"""The routes, one file for each topic. A new route also needs a line in `memr_service.app.auth.ROUTES`."""

from memr_service.app.routes import (
    checkpoints,
    dashboard,
    health,
    insight,
    nemo_gym,
    openrlhf,
    planning,
    reward,
    runs,
    suspects,
)

ROUTERS = (
    reward.router,
    openrlhf.router,
    nemo_gym.router,
    runs.router,
    checkpoints.router,
    insight.router,
    planning.router,
    suspects.router,
    health.router,
    dashboard.router,
)
