"""The workers of a sweep on a Ray cluster: asking for them, refusing nodes, losing them.

Ray decides where a worker runs and when there is room for it; what a worker does next is decided
by the driver, as for local processes. A worker has only the trials that it trains, so nothing waits
anywhere but in the driver, and results come back as they are made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
import ray.cloudpickle
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_sweep.errors import DeviceError
from mnist_sweep.executors import ray_worker
from mnist_sweep.executors.driver import Ended, Message, Worker
from mnist_sweep.executors.interface import Settings
from mnist_sweep.executors.ray_executor import ClusterOptions
from mnist_sweep.trial import Trial

#: Seconds between two looks at which nodes there are.
LOOK = 2.0
#: Seconds without a worker after which the user is told what we wait for.
PATIENCE = 30.0
#: How often a trial may lose its node, through no fault of its own as far as we know.
MAX_LOSSES = 3
#: Seconds that a node may take to start a process and answer.
ANSWER_TIMEOUT = 60.0

ray.cloudpickle.register_pickle_by_value(ray_worker)
_Remote: Any = ray.remote(ray_worker.RayWorker)


def _alive_nodes() -> list[Mapping[str, Any]]:
    """The nodes of the cluster that are up, as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def _differences(versions: Mapping[str, str | None]) -> str:
    """Why rows from a node with ``versions`` would not be like ours; empty if there is no reason.

    Only packages are compared: Ray itself refuses nodes with another Python or Ray.
    """
    wrong = [
        f"it has {f'{package} {theirs}' if theirs else f'no {package}'}, this run {ours}"
        for package, ours in ray_worker.versions().items()
        if (theirs := versions.get(package)) != ours
    ]
    return f"{'; '.join(wrong)}: install the same there" if wrong else ""


def inspect_nodes(say: Callable[[str], None]) -> bool:
    """Describe the cluster to a person, a node a line; whether any of them can train.

    What is installed on a node is asked by an actor there.
    """
    nodes = _alive_nodes()
    head = ray.get_runtime_context().gcs_address
    say(f"ray          {ray.__version__}")
    say(f"cluster      {head}: {len(nodes)} nodes, {_room_text(ray.cluster_resources())}")
    places = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    actors = [_Remote.options(num_cpus=0, scheduling_strategy=place).remote() for place in places]
    asked = [actor.facts.remote() for actor in actors]
    ray.wait(asked, num_returns=len(asked), timeout=ANSWER_TIMEOUT)
    usable = False
    for node, facts in zip(nodes, asked, strict=True):
        known = ""
        try:
            versions = ray.get(facts, timeout=0)[2]
            known = "".join(f", {name} {v or 'missing'}" for name, v in versions.items())
            problem = _differences(versions)
        except GetTimeoutError:
            problem = f"no answer in {ANSWER_TIMEOUT:.0f} s"
        except RayError as error:
            problem = _reason(error)
        usable |= not problem
        state = f"not used: {problem}" if problem else "usable"
        name = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        say(f"node         {name}: {_room_text(node['Resources'])}{known}: {state}")
    return usable


def _room_text(resources: Mapping[str, float]) -> str:
    return f"{resources.get('CPU', 0):g} CPU, {resources.get('GPU', 0):g} GPU"


def _reason(error: RayError) -> str:
    """The one sentence of Ray's many that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("The actor is dead because ")]
    return (told or lines or [type(error).__name__])[0].partition(". Some common causes")[0]


class _Actor(Worker):
    """A worker in an actor, the answer that we await from it, and its node once that is known."""

    def __init__(self, actor: Any) -> None:
        super().__init__("a node", doctor="mnist-sweep doctor --executor ray")
        self.actor = actor
        self.awaited = actor.facts.remote()
        self.node_id = ""


@dataclass
class Actors:
    """See Crew: actors of the cluster that this process is connected to.

    ``say`` gets what the user should know of the nodes, again and again. ``images`` has references
    to the data sets in the object store, by name.
    """

    options: ClusterOptions
    settings: Settings
    say: Callable[[str], None]
    images: dict[str, Any] = field(default_factory=dict)
    workers: list[_Actor] = field(default_factory=list)
    _nodes: dict[str, Mapping[str, float]] = field(default_factory=dict)  # id -> resources
    _refused: dict[str, str] = field(default_factory=dict)  # id -> the node and why
    _losses: Counter[str] = field(default_factory=Counter)
    _looked: float = float("-inf")
    _worked: float = field(default_factory=time.monotonic)

    # The cluster

    def room(self) -> int:
        """As many workers as were asked for, or as there is room for, and one more.

        That one tells a cluster that can grow that there is work for it.
        """
        grows = self.options.address is not None
        if time.monotonic() - self._looked >= LOOK:
            self._look(grows)
        return self.options.jobs or self._slots() + grows

    def _look(self, grows: bool) -> None:
        """Learn which nodes there are; tell the user if they have no room for us."""
        self._looked = time.monotonic()
        self._refresh()
        slots, gpus = self._slots(), self.options.gpus_per_worker
        needs = f"CPU and {gpus:g} GPU for a worker" if gpus else "CPU for a worker"
        if not slots and (self._refused or not grows):
            reasons = "; ".join(self._refused.values()) or f"none has {needs}; ask for less"
            raise DeviceError(f"no node of the cluster can be used: {reasons}")
        if any(worker.node_id for worker in self.workers):
            self._worked = self._looked
        if not slots or self._looked - self._worked > PATIENCE:
            self.say(f"the cluster has no {needs}{' free' if slots else ''}; waiting")

    def _refresh(self) -> None:
        self._nodes = {node["NodeID"]: node["Resources"] for node in _alive_nodes()}

    def _slots(self) -> int:
        """How many workers fit on the nodes that we can use, were they ours alone."""
        gpus = self.options.gpus_per_worker
        room = 0
        for resources in (r for node, r in self._nodes.items() if node not in self._refused):
            slots = int(resources.get("CPU", 0))
            if gpus:
                # A fraction of a GPU is one of a single GPU: it is not put together of two.
                there = int(resources.get("GPU", 0))
                slots = min(slots, there * int(1 / gpus) if gpus <= 1 else there // int(gpus))
            room += slots
        return room

    # The workers

    def hire(self) -> None:
        """Ask Ray for a worker, which it starts where and when there is room."""
        elsewhere = {"ray.io/node-id": f"!in({','.join(self._refused)})"} if self._refused else None
        actor = _Remote.options(
            num_cpus=1, num_gpus=self.options.gpus_per_worker, label_selector=elsewhere
        ).remote()
        self.workers.append(_Actor(actor))

    def news(self, timeout: float) -> list[tuple[_Actor, Message]]:
        """See Crew."""
        by_answer = {w.awaited: w for w in self.workers if w.trials or not w.ready}
        awaited, answers = list(by_answer), []
        # One of them is waited for; then all that have come are taken.
        for most, seconds in ((1, timeout), (len(awaited), 0)) if awaited else ():
            answers, _ = ray.wait(awaited, num_returns=most, timeout=seconds, fetch_local=False)
        heard = [(by_answer[answer], self._received(by_answer[answer])) for answer in answers]
        return [(worker, message) for worker, message in heard if message is not None]

    def _received(self, worker: _Actor) -> Message | None:
        """A worker's answer as a message; None if it has only said where it is."""
        try:
            answer: Any = ray.get(worker.awaited)
        except RayError as error:
            # Its end may be that of its node, which is known by now.
            self._refresh()
            gone = worker.node_id != "" and worker.node_id not in self._nodes
            lost = gone or isinstance(error, ActorUnavailableError)
            return self._lost(worker, _reason(error)) if lost else Ended(_reason(error))
        if worker.trials:
            return list(answer)
        if worker.node_id:
            problem, ready = answer
            return self._refuse(worker, problem) if problem else ready
        worker.node_id, worker.place, versions = answer
        if worker.node_id in self._refused:
            return Ended("")
        if problem := _differences(versions):
            return self._refuse(worker, problem)
        worker.starting_since = time.monotonic()
        worker.awaited = worker.actor.start.remote(
            self.options.device, self.options.gpus_per_worker, self.settings
        )
        return None

    def give(self, worker: _Actor, trials: list[Trial]) -> None:
        """See Crew."""
        worker.awaited = worker.actor.run.remote(trials, self.images[trials[0].dataset.name])

    def _lost(self, worker: _Actor, reason: str) -> Ended:
        """How it ends together with its node: its trials are not to blame."""
        self._losses.update(trial.trial_id for trial in worker.trials)
        elsewhere = [t for t in worker.trials if self._losses[t.trial_id] <= MAX_LOSSES]
        if elsewhere:
            self.say(f"node {worker.place} was lost; its trials run elsewhere")
        return Ended(reason if worker.trials else "", elsewhere)

    def _refuse(self, worker: _Actor, problem: str) -> Ended:
        """Take no worker on this node again."""
        self._refused[worker.node_id] = f"{worker.place}: {problem}"
        self.say(f"node {worker.place} is not used: {problem}")
        self._looked = float("-inf")
        return Ended("")

    def dismiss(self, worker: _Actor) -> None:
        """See Crew."""
        self.workers.remove(worker)
        ray.kill(worker.actor)
