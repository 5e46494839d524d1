"""``sjft run``: one experiment from images to report, a step after the other, in one folder."""
