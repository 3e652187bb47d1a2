"""Seconds left of work in equal steps, whose first one may compile kernels, read files or fill caches."""


class TimeLeft:
    """An estimate from all steps but the first.

    Parameters
    ----------
    done, total : int
        Steps that are there already, and all of them.
    """

    def __init__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        self._first: tuple[int, float] | None = None

    def after(self, done: int, now: float) -> float | None:
        """Seconds left when `done` steps are done at the time `now`; None before two of them were seen.

        Parameters
        ----------
        done : int
        now : float
            Seconds, from any start on.
        """
        if done <= self._done:
            return None
        if self._first is None:
            self._first = done, now
        known, began = self._first
        if done >= self._total:
            return 0.0
        return (now - began) / (done - known) * (self._total - done) if done > known else None
