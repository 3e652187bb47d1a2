"""How long a run trains: budgets in seconds or steps, and what continuing a run means."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..contract.errors import CheckpointError, NerfError


@dataclass(frozen=True)
class Spent:
    """What a run has trained so far; seconds are those inside training steps."""

    seconds: float = 0.0
    steps: int = 0


@dataclass(frozen=True)
class Budget:
    """What a run may train in all."""

    kind: Literal["seconds", "steps"]
    amount: float

    def used(self, spent: Spent) -> float:
        """What of `spent` this budget counts."""
        return spent.seconds if self.kind == "seconds" else spent.steps

    def progress(self, spent: Spent) -> float:
        """The fraction that is spent, 0 to 1."""
        return 1.0 if self.is_spent(spent) else self.used(spent) / self.amount

    def is_spent(self, spent: Spent) -> bool:
        """Whether the run has ended."""
        # A hundredth of a second is not worth another step of a run that was saved at its end.
        return self.used(spent) >= self.amount - (0.01 if self.kind == "seconds" else 0)

    def seconds_left(self, spent: Spent) -> float | None:
        """Training seconds to go; None when the pace is not known yet."""
        left = max(self.amount - self.used(spent), 0.0)
        if self.kind == "seconds":
            return left
        return left * spent.seconds / spent.steps if spent.steps else None

    def to_dict(self) -> dict[str, Any]:
        """As `run.json` holds it."""
        return {self.kind: self.amount}

    def __str__(self) -> str:
        return f"{self.amount:g} {self.kind}"


def asked_budget(seconds: float | None = None, steps: int | None = None) -> Budget | None:
    """The budget that a person asked for; None when neither number is given.

    Raises
    ------
    NerfError
        When both are given or one is not a usable number.
    """
    if seconds is not None and steps is not None:
        raise NerfError("Give seconds or steps to train, not both.")
    if seconds is not None:
        if isinstance(seconds, bool) or not 0 < seconds < 1e12:
            raise NerfError(f"The seconds to train must be a number above 0, not {seconds}.")
        return Budget("seconds", float(seconds))
    if steps is not None:
        if isinstance(steps, bool) or not 0 < steps < 1e12 or steps != int(steps):
            raise NerfError(f"The steps to train must be a whole number above 0, not {steps}.")
        return Budget("steps", int(steps))
    return None


def stored_budget(run: Mapping[str, Any], where: object) -> Budget | None:
    """The budget in a `run.json`; None when it holds none yet."""
    stored = run.get("budget")
    if stored is None:
        return None
    try:
        budget = asked_budget(**stored)
    except (TypeError, ValueError, NerfError) as error:
        raise CheckpointError(f"'{where}' holds a budget that is not usable: {stored!r}.") from error
    if budget is None:
        raise CheckpointError(f"'{where}' holds an empty budget.")
    return budget


def plan(asked: Budget | None, stored: Budget | None, spent: Spent, more: bool) -> Budget:
    """What a run trains to when it is started (again).

    A new run takes what is asked. An interrupted one goes on to the end of its own budget, unless `more` is set. One
    that has ended, and any with `more`, trains what is asked on top of what is spent.

    Raises
    ------
    NerfError
        When something must be asked for and is not.
    """
    if stored is not None and not more and spent.steps and not stored.is_spent(spent):
        return stored
    if asked is None:
        if stored is not None and not spent.steps:
            return stored
        if stored is not None:
            raise NerfError(
                f"This run has trained {spent.steps} steps in {spent.seconds:.0f} s and has ended; "
                "say how many seconds or steps more."
            )
        raise NerfError("Say how many seconds or steps to train.")
    return Budget(asked.kind, asked.amount + asked.used(spent))
