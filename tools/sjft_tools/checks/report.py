"""One line per check, and under each that fails what to do about it."""

from __future__ import annotations

from typing import Callable, TypeVar

from sjft.errors import InputError

Result = TypeVar("Result")


class CheckFailed(InputError):
    """A check that failed: what is wrong, and the remedy, each one sentence."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem.rstrip('.')}: {remedy}")
        self.problem = problem
        self.remedy = remedy


class Report:
    """Prints the checks' lines as they are made; `failures` counts those that failed."""

    def __init__(self) -> None:
        self.failures = 0

    def ok(self, name: str, detail: str) -> None:
        """Print that the check `name` passed; `detail` says what was found."""
        print(f"ok    {name}: {detail}", flush=True)

    def fail(self, name: str, problem: str, remedy: str) -> None:
        """Print that the check `name` failed, and how to mend it."""
        self.failures += 1
        problem = problem.replace("\n", "\n      ")
        print(f"FAIL  {name}: {problem}\n      -> {remedy}", flush=True)

    def skip(self, name: str, reason: str) -> None:
        """Print that the check `name` could not be made because an earlier one failed."""
        print(f"skip  {name}: {reason}", flush=True)

    def check(
        self, name: str, make: Callable[[], tuple[Result, str]], remedy: str
    ) -> Result | None:
        """Make one check: `make` returns its result and the detail to print.

        It fails by raising CheckFailed, or InputError, for which `remedy` is printed. Returns the
        result, None after a failure.
        """
        try:
            result, detail = make()
        except CheckFailed as failure:
            self.fail(name, failure.problem, failure.remedy)
        except InputError as error:
            self.fail(name, str(error), remedy)
        else:
            self.ok(name, detail)
            return result
        return None
