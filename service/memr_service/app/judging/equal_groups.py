"""`EqualGroups`: what the memory pays in groups whose outcomes are all equal."""

from __future__ import annotations

import logging

from memr_client.schemas import RunConfig

logger = logging.getLogger("memr.app")


class EqualGroups:
    """Holds the memory's rewards to 0 there unless the caller asks for more, and logs it once per run.

    OpenRLHF and NeMo Gym do not say how advantages are computed. An estimator that divides rewards by their deviation
    in the group would enlarge the memory's to the whole advantage.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def spread(self, run_id: str, asked: float | None, config: RunConfig, why: str, how: str) -> float | None:
        """The `equal_spread` of a request; None: the run's.

        Args:
            asked: what the caller sent.
            why: what would enlarge the memory's rewards.
            how: how the caller asks for more, as "send {spread}".
        """
        if asked is not None or not config.equal_spread:
            return asked
        if run_id not in self._logged:
            self._logged.add(run_id)
            logger.warning(
                "Run %r: the memory's rewards are 0 in groups whose outcomes are all equal, because %s "
                "would enlarge them to the whole advantage. With another estimator, %s to have them.",
                run_id,
                why,
                how.format(spread=f"{config.equal_spread:g}"),
            )
        return 0.0
