"""Which solver Caffe makes, and how many histories of every blob it keeps."""

from __future__ import annotations

from typing import Any

#: How many histories of every blob Caffe's solvers keep, by pycaffe's names of their classes.
_HISTORIES = {
    **dict.fromkeys(("SGDSolver", "NesterovSolver", "AdaGradSolver", "RMSPropSolver"), 1),
    **dict.fromkeys(("AdaDeltaSolver", "AdamSolver"), 2),
}

#: What stands for a value of the field `type` in the field `solver_type`, which it replaced.
_OLD_TYPES = {
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def solver_class(solver: Any) -> str:
    """Return pycaffe's name of the class that Caffe makes of a SolverParameter."""
    kind = str(solver.type)
    if solver.HasField("solver_type"):
        kind = _OLD_TYPES.get(solver.SolverType.Name(solver.solver_type), kind)
    return f"{kind}Solver"


def histories(solver: str) -> int | None:
    """Return how many histories of every blob a solver of this class keeps; None if not known."""
    return _HISTORIES.get(solver)
