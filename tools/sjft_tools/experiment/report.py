"""The report of a run: one page, from the result down to the commands."""

from __future__ import annotations

from collections.abc import Mapping

from sjft_tools.experiment.finished import FinishedRun
from sjft_tools.experiment.outcome import Outcome
from sjft_tools.experiment.page import Page
from sjft_tools.experiment.plan import Plan
from sjft_tools.experiment.sections.accuracy import add_accuracy, add_training
from sjft_tools.experiment.sections.hard_samples import add_hard_samples
from sjft_tools.experiment.sections.mistakes import add_mistakes
from sjft_tools.experiment.sections.selection import add_selection
from sjft_tools.experiment.sections.summary import add_summary
from sjft_tools.experiment.sections.what_was_run import add_what_was_run
from sjft_tools.experiment.step import Marker


def report_page(plan: Plan, outcome: Outcome, done: Mapping[str, Marker]) -> str:
    """Return the HTML of the report. `done`: the marker of every step of the run, in its order.

    Raises InputError if the images or the neighbours of the run are not there any more.
    """
    run = FinishedRun(plan, outcome, done)
    page = Page(plan.experiment.name, "Selective joint fine-tuning: the report of a run.")
    add_summary(page, run)
    page.contents()
    add_accuracy(page, run)
    add_training(page, run)
    add_selection(page, run)
    add_hard_samples(page, run)
    add_mistakes(page, run)
    add_what_was_run(page, run)
    return page.text()
