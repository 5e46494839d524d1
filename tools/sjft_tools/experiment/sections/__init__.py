"""The sections of a run's report, each of which adds itself to a page."""
