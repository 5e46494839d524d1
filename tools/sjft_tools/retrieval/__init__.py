"""`sjft retrieve`: a restartable pass over the source, in one process or many."""
