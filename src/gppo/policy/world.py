"""The processes that train one model together: torchrun starts them, one a GPU, and each runs the same code.

What they tell each other beside gradients goes over gloo, through main memory, and may wait for hours: a rank whose
responses are short waits here for the others. What is sharded goes over NCCL (``gppo.policy.parallel``).
"""

import logging
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from gppo.policy._watch import watched
from gppo.run.interrupt import StopRequest
from gppo.types import GppoError, UserError

_WAIT = timedelta(days=30)  # the death of a rank is noticed otherwise

Made = TypeVar("Made")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class World:
    """This process among those that train together; alone by default.

    All of its methods are collective: every rank calls them, in the same order.

    Args:
        rank: 0 .. size - 1. Rank 0 writes the run folder and speaks to the user.
        size: how many.
        group: over which they talk.
    """

    rank: int = 0
    size: int = 1
    group: Any = None

    @property
    def leads(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank. It is pickled."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value, group=self.group)
        return found

    def sum(self, values: Tensor) -> Tensor:
        """The sum of every rank's tensor, on the CPU; the tensor itself where there is one rank."""
        if self.size == 1:
            return values
        total = values.detach().cpu().clone()
        dist.all_reduce(total, group=self.group)
        return total

    def barrier(self) -> None:
        """Wait for all."""
        self.gather(None)

    def agreed(self, heard: StopRequest) -> StopRequest:
        """What ranks do about signals, which do not reach all of them at the same step: one that was heard by any.

        It stays as it is until the next agreement. A process that is alone hears for itself at any time.
        """
        if self.size == 1:
            return heard
        common = StopRequest()
        common.signum = max(self.gather(heard.signum or 0)) or None
        return common

    def together(self, work: Callable[[], Made]) -> list[Made]:
        """What every rank made, by rank.

        Raises:
            Exception: what the first of the ranks that failed has raised, on all of them (``raised_on_all``).
        """
        if self.size == 1:
            return [work()]
        made, error = None, None
        try:
            made = work()
        except Exception as failure:
            error = failure
        found = self.gather((made, _portable(error)))
        for rank, (_, failed) in enumerate(found):
            if failed is not None:
                known = error if error is not None and rank == self.rank else failed
                known.__dict__["on_all_ranks"] = True
                raise known
        return [made for made, _ in found]

    def lead(self, work: Callable[[], Made]) -> Made:
        """What rank 0 makes, on every rank; so with what it raises."""
        return self.together(lambda: work() if self.leads else None)[0]  # type: ignore[return-value]

    def shared(self, work: Callable[[Sequence[Item]], list[Made]], items: Sequence[Item]) -> list[Made]:
        """One result an item, in order; each rank works on its share of them. Errors as from ``together``."""
        found = self.together(lambda: work(items[self.rank :: self.size]))
        results: list[Any] = [None] * len(items)
        for rank, part in enumerate(found):
            results[rank :: self.size] = part
        return results

    def merged(self, work: Callable[[], Mapping[Any, Made]]) -> dict[Any, Made]:
        """All entries that ranks made. Errors as from ``together``."""
        return {key: value for part in self.together(work) for key, value in part.items()}


def raised_on_all(error: Exception) -> bool:
    """Whether every rank raises this error at the same place, as from ``World.together``."""
    return getattr(error, "on_all_ranks", False)


#: A process by itself.
ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Join the ranks that torchrun has started, until the block ends on all of them.

    Where one dies, the others end within seconds, and one says which it was.

    Raises:
        UserError: they are on several machines.
        GppoError: the ranks could not connect to each other.
    """
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if int(os.environ.get("LOCAL_WORLD_SIZE", size)) != size:
        raise UserError(
            "torchrun has started ranks on several machines; by itself gppo trains on one: take --nnodes away, or use "
            "--engine verl"
        )
    if rank:
        logging.getLogger().setLevel(logging.ERROR)  # rank 0 has the same to say
    world = World(rank, size, _connect(rank, size))
    with watched(rank, world.gather(os.getpid())) as fellows:
        try:
            yield world
            world.barrier()  # from here on nobody's end is a surprise
        except RuntimeError:
            fellows.end_where_one_is_gone(1.0)  # a broken connection is what the end of another looks like first
            raise
    dist.destroy_process_group()


def _connect(rank: int, size: int) -> Any:
    """Connect to the other ranks; the group over which they talk."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        store, _, _ = next(rendezvous("env://"))
        # Where torchrun has started ranks again, addresses of those before are still in its store.
        store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
        return dist.new_group(backend="gloo", timeout=_WAIT)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise GppoError(f"the ranks could not connect to each other ({reason}); run the same command again") from error


def _portable(error: Exception | None) -> Exception | None:
    """An error that can be sent, with where it happened as a note."""
    if error is None or isinstance(error, GppoError):
        return error
    try:
        copy = pickle.loads(pickle.dumps(error))
        assert isinstance(copy, Exception)
    except Exception:  # whatever an unusual class does when it is pickled
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("".join(traceback.format_exception(error)))
    return copy
