"""A retrieval from the user's request to the neighbour LMDB: what is there, what is left to do."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from sjft.errors import InputError
from sjft.side_file import NEIGHBOURS
from sjft_tools.atomic import folder_name, refuse_existing, tidy
from sjft_tools.lmdb_writer import refuse_other_contents
from sjft_tools.matching.products import Product
from sjft_tools.retrieval import finish
from sjft_tools.retrieval.detail import advice_on_detail
from sjft_tools.retrieval.engine import Engine
from sjft_tools.retrieval.inputs import Inputs, open_inputs
from sjft_tools.retrieval.memory import memory_text
from sjft_tools.retrieval.passes import Run, written
from sjft_tools.retrieval.plan import SHARD_SIZE, Plan, make_plan, parts_of
from sjft_tools.retrieval.prepared import Prepared, check_alike, prepare, stored
from sjft_tools.retrieval.request import Request
from sjft_tools.retrieval.shard_files import ShardFiles
from sjft_tools.retrieval.work_folder import (
    RetrievalFolder,
    hold_retrieval,
    read_plan,
    write_plan,
)
from sjft_tools.work_folder import PLAN_FILE

if TYPE_CHECKING:
    from sjft_tools.retrieval.team import Team


def retrieve(request: Request) -> str:
    """Do what is asked as far as it is not done yet; return a sentence that says what there is now.

    Raises InputError for any bad input, and where the work folder holds the work of other inputs.
    """
    _refuse_output(request)
    inputs, plan = _open(request)
    if os.path.lexists(request.output) and not request.force:
        return _finished_before(request, plan)
    with hold_retrieval(request.work, request.output, shared=request.part is not None) as folder:
        engine = Engine(inputs, plan, request.product)
        _announce(request, inputs, plan, engine.product)
        with _team(request, inputs, plan, engine) as team:
            with folder.alone("plan"):
                _settle(folder, plan, request)
                prepared = stored(folder, plan)
                if prepared is None:
                    prepared = _prepare(folder, plan, engine, request)
                else:
                    check_alike(prepared, folder.path, engine)
            run = Run(request, folder, inputs, plan, engine, prepared, team)
            return run.part(*request.part) if request.part else run.whole()


def merge(request: Request) -> str:
    """Join the shards in the work folder and write the neighbours; return a sentence about them.

    Raises InputError if shards are missing, naming them.
    """
    _refuse_output(request)
    inputs, plan = _open(request)
    if os.path.lexists(request.output) and not request.force:
        return _finished_before(request, plan)
    with hold_retrieval(request.work, request.output, shared=False) as folder:
        _settle(folder, plan, replace(request, force=False))
        engine = Engine(inputs, plan, request.product)
        prepared = _prepare(folder, plan, engine, request)
        done = ShardFiles(folder.path, plan, prepared.first_pass()).done()
        missing = [shard for shard in range(plan.shards) if shard not in done]
        if missing:
            raise InputError(
                f"{_named(missing, folder, plan.shards)} not done yet in {folder.path}: run 'sjft "
                f"retrieve' with --shard for what is missing"
            )
        return Run(request, folder, inputs, plan, engine, prepared, None).whole()


def _refuse_output(request: Request) -> None:
    """Raise InputError if the output cannot be written in the end."""
    output = os.path.realpath(folder_name(request.output))
    if os.path.join(os.path.realpath(request.work), "").startswith(os.path.join(output, "")):
        raise InputError(
            f"the work folder {request.work} is the output or lies in it: expected another --work"
        )
    refuse_existing(request.output, request.force or os.path.isdir(request.work))
    if request.force:
        refuse_other_contents(request.output, NEIGHBOURS)


def _open(request: Request) -> tuple[Inputs, Plan]:
    """Open the inputs and make the plan; what the user left open is as in the unfinished work."""
    shard_size, backends = request.shard_size, {}
    found = None if request.force else read_plan(request.work)
    if found is not None:
        backends = {found[0].bank: found[0].backend}
        shard_size = shard_size or found[0].shard_size
    inputs = open_inputs(request.paths, request.k, backends)
    if shard_size is None:
        parts = request.part[1] if request.part else 1
        shard_size = min(SHARD_SIZE, -(-inputs.source.count // parts))
    return inputs, make_plan(inputs, request.k, shard_size)


def _finished_before(request: Request, plan: Plan) -> str:
    """Remove what a run left that was killed right after it had put the output in place."""
    if not finish.is_result(request.output, plan):
        refuse_existing(request.output, False)
    with hold_retrieval(request.work, request.output, shared=False) as folder:
        tidy(request.output)
        folder.remove()
    return written(request.output, plan)


def _team(
    request: Request, inputs: Inputs, plan: Plan, engine: Engine
) -> AbstractContextManager[Team | None]:
    """Return the worker processes that the user asked for; None within if he asked for none."""
    if not request.has_team:
        return nullcontext()
    # Imported here, for only this needs dask.distributed.
    from sjft_tools.retrieval.team import gather

    return gather(request, inputs, plan, engine)


def _announce(request: Request, inputs: Inputs, plan: Plan, product: Product) -> None:
    bank = inputs.bank
    left_out = f" ({plan.excluded} excluded)" if plan.excluded else ""
    memory = memory_text(inputs, plan, product, is_one_of_many=request.has_team)
    print(
        f"{bank.name} bank by {bank.backend}, images warped to {bank.resize} x {bank.resize}, "
        f"{inputs.bins.edges.size} dimensions; {plan.targets} targets x {plan.sources} sources"
        f"{left_out}, shards of {plan.shard_size}\n{memory}",
        file=sys.stderr,
    )
    advice = advice_on_detail(inputs.target, inputs.source, bank)
    if advice:
        print(advice, file=sys.stderr)


def _settle(folder: RetrievalFolder, plan: Plan, request: Request) -> None:
    """Make sure that `folder` holds the work of `plan`, or none yet.

    Raises InputError if it holds other work, unless the user wants to start over.
    """
    over = request.force and request.part is None
    try:
        found = read_plan(folder.path)
    except InputError:
        if not over:
            raise
        found = None
    difference = found[0].difference(plan) if found else ""
    if difference and not over:
        remedy = "--force to start over" if request.part is None else "an empty --work"
        raise InputError(
            f"{folder.path} holds unfinished work with another {difference}: give the same as "
            f"before, another output, or {remedy}"
        )
    if found is None or difference:
        if request.part is None:
            folder.clear()
        write_plan(folder, plan, request.paths)


def _prepare(folder: RetrievalFolder, plan: Plan, engine: Engine, request: Request) -> Prepared:
    try:
        return prepare(folder, plan, engine)
    except InputError:
        # Other inputs will come: the plan must not stand in their way.
        os.remove(folder.file(PLAN_FILE))
        if request.part is None:
            folder.clear()
        raise


def _named(missing: list[int], folder: RetrievalFolder, shards: int) -> str:
    """Return how messages name missing shards: by the parts they belong to, if these are known."""
    parts = folder.parts()
    if len(parts) == 1:
        of = parts.pop()
        wanted = [
            part for part in range(1, of + 1) if set(parts_of(shards, part, of)) & set(missing)
        ]
        return f"{_listed('part', wanted)} of {of} {'is' if len(wanted) == 1 else 'are'}"
    verb = "is" if len(missing) == 1 else "are"
    return f"{_listed('shard', missing)} of 0 to {shards - 1} {verb}"


def _listed(what: str, numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
    return f"{what}{'' if len(numbers) == 1 else 's'} {shown}"
