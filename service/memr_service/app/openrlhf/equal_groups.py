"""`EqualGroups`: what the memory pays in groups of OpenRLHF whose outcomes are all equal."""

from __future__ import annotations

import logging

from memr_client.schemas import RunConfig

logger = logging.getLogger("memr.app")


class EqualGroups:
    """Holds the memory's rewards to 0 there unless the caller asks for more, and logs it once per run.

    OpenRLHF does not say how it computes advantages. Its estimator `group_norm` divides rewards by their deviation in
    the group, and would enlarge the memory's to the whole advantage.
    """

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def spread(self, run_id: str, asked: float | None, config: RunConfig) -> float | None:
        """The `equal_spread` of a request; None: the run's.

        Args:
            asked: what the caller sent.
        """
        if asked is not None or not config.equal_spread:
            return asked
        if run_id not in self._logged:
            self._logged.add(run_id)
            logger.warning(
                "Run %r: the memory's rewards are 0 in groups whose outcomes are all equal, because OpenRLHF's "
                "estimator group_norm would enlarge them to the whole advantage. With another estimator, add "
                "?equal_spread=%g to the address to have them.",
                run_id,
                config.equal_spread,
            )
        return 0.0
