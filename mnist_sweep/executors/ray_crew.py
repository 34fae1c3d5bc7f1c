"""The workers of a sweep on a Ray cluster: asking for them, refusing nodes, losing them.

Ray decides where a worker runs and when there is room for it; what a worker does next is decided
by the driver, as for local processes. A worker has only the trials that it trains, so nothing waits
anywhere but in the driver, and results come back as they are made.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import ray
import ray.cloudpickle
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_sweep.errors import DeviceError
from mnist_sweep.executors import ray_worker
from mnist_sweep.executors.driver import Ended, Message, Worker
from mnist_sweep.executors.interface import Settings
from mnist_sweep.executors.ray_executor import ClusterOptions, Node
from mnist_sweep.executors.ray_worker import Facts
from mnist_sweep.trial import Trial, TrialResult

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


def alive_nodes() -> dict[str, Mapping[str, Any]]:
    """The nodes of the cluster that are up, by id, as Ray describes them."""
    return {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}


def node_name(node: Mapping[str, Any]) -> str:
    """The name of a node and its address, which tell apart nodes that share either."""
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def differences(versions: Mapping[str, str | None]) -> str:
    """Why rows from a node with ``versions`` would not be like ours; empty if there is no reason.

    Only packages are compared: Ray itself refuses nodes with another Python or Ray.
    """
    wrong = [
        f"it has {f'{package} {theirs}' if theirs else f'no {package}'}, this run {ours}"
        for package, ours in ray_worker.versions().items()
        if (theirs := versions.get(package)) != ours
    ]
    return f"{'; '.join(wrong)}: install the same there" if wrong else ""


def inspect_nodes() -> list[Node]:
    """Every node that is up, asked by an actor on it what is installed there."""
    nodes = alive_nodes()
    asked = {}
    for node_id in nodes:
        there = NodeAffinitySchedulingStrategy(node_id, soft=False)
        actor = _Remote.options(num_cpus=0, scheduling_strategy=there).remote()
        asked[node_id] = actor, actor.facts.remote()
    references = [facts for _, facts in asked.values()]
    answered, _ = ray.wait(references, num_returns=len(references), timeout=ANSWER_TIMEOUT)
    inspected = []
    for node_id, node in nodes.items():
        versions: dict[str, str | None] = {}
        problem = f"no answer in {ANSWER_TIMEOUT:.0f} s"
        if asked[node_id][1] in answered:
            try:
                versions = Facts(*ray.get(asked[node_id][1])).versions
                problem = differences(versions)
            except RayError as error:
                problem = _reason(error)
        resources = node["Resources"]
        cpus, gpus = resources.get("CPU", 0), resources.get("GPU", 0)
        inspected.append(Node(node_name(node), cpus, gpus, versions, problem))
    return inspected


def _reason(error: RayError) -> str:
    """The one sentence of Ray's many that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("The actor is dead because ")]
    return (told or lines or [type(error).__name__])[0].partition(". Some common causes")[0]


class _Actor(Worker):
    """A worker in an actor, the answer that we await from it, and its node once that is known."""

    def __init__(self, actor: Any) -> None:
        super().__init__()
        self.actor = actor
        self.awaited = actor.facts.remote()
        self.node_id = ""


class Actors:
    """See Crew: actors of the cluster that this process is connected to.

    ``images`` has references to the data sets in the object store, by name, and may grow.
    ``elastic`` says whether nodes may join. ``say`` gets what the user should know of the nodes,
    again and again.
    """

    def __init__(
        self,
        options: ClusterOptions,
        settings: Settings,
        images: Mapping[str, Any],
        *,
        elastic: bool,
        say: Callable[[str], None],
    ) -> None:
        self.workers: list[_Actor] = []
        self._options = options
        self._settings = settings
        self._images = images
        self._elastic = elastic
        self._say = say
        self._nodes: dict[str, Mapping[str, Any]] = {}
        self._names: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._losses: Counter[str] = Counter()
        self._looked = float("-inf")
        self._worked = time.monotonic()

    # The cluster

    def room(self) -> int:
        """As many workers as were asked for, or as there is room for, and one more.

        That one tells a cluster that can grow that there is work for it.
        """
        if time.monotonic() - self._looked >= LOOK:
            self._look()
        return self._options.jobs or self._slots() + self._elastic

    def _look(self) -> None:
        """Learn which nodes there are; tell the user if they have no room for us."""
        self._looked = time.monotonic()
        self._refresh()
        slots = self._slots()
        if not slots and self._refused:
            raise DeviceError(f"no node of the cluster can be used: {self._told_of_refused()}")
        if not slots and not self._elastic:
            raise DeviceError(f"this machine has no {self._needs}; ask for less")
        if any(worker.node_id for worker in self.workers):
            self._worked = self._looked
        if not slots:
            self._say(f"no node of the cluster has {self._needs}; waiting for one to join")
        elif self._looked - self._worked > PATIENCE:
            self._say(f"the cluster has no {self._needs} free; waiting")

    def _refresh(self) -> None:
        self._nodes = alive_nodes()
        # A node keeps its name when it is gone: it is then that the user hears of it.
        self._names.update((node_id, node_name(node)) for node_id, node in self._nodes.items())

    def _slots(self) -> int:
        """How many workers fit on the nodes that we can use, were they ours alone."""
        gpus = self._options.gpus_per_worker
        room = 0
        for node_id, node in self._nodes.items():
            if node_id not in self._refused:
                slots = int(node["Resources"].get("CPU", 0))
                if gpus:
                    # A fraction of a GPU is one of a single GPU: it is not put together of two.
                    there = int(node["Resources"].get("GPU", 0))
                    shares = there * int(1 / gpus) if gpus <= 1 else there // int(gpus)
                    slots = min(slots, shares)
                room += slots
        return room

    @property
    def _needs(self) -> str:
        gpus = self._options.gpus_per_worker
        return f"CPU and {gpus:g} GPU for a worker" if gpus else "CPU for a worker"

    def _told_of_refused(self) -> str:
        return "; ".join(
            f"{self._names[node_id]}: {self._refused[node_id]}"
            for node_id in self._nodes
            if node_id in self._refused
        )

    # The workers

    def hire(self) -> None:
        """Ask Ray for a worker, which it starts where and when there is room."""
        elsewhere = {"ray.io/node-id": f"!in({','.join(self._refused)})"}
        actor = _Remote.options(
            num_cpus=1,
            num_gpus=self._options.gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
            label_selector=elsewhere if self._refused else None,
        ).remote()
        self.workers.append(_Actor(actor))

    def news(self, timeout: float) -> list[tuple[_Actor, Message]]:
        """See Crew."""
        by_answer = {w.awaited: w for w in self.workers if w.trials or not w.ready}
        if not by_answer:
            return []
        answers, _ = ray.wait(list(by_answer), num_returns=1, timeout=timeout, fetch_local=False)
        if answers:
            everything = len(by_answer)
            answers, _ = ray.wait(
                list(by_answer), num_returns=everything, timeout=0, fetch_local=False
            )
        heard = [(by_answer[answer], self._received(by_answer[answer])) for answer in answers]
        return [(worker, message) for worker, message in heard if message is not None]

    def _received(self, worker: _Actor) -> Message | None:
        """A worker's answer as a message; None if it has only said where it is."""
        try:
            answer = ray.get(worker.awaited)
        except RayError as error:
            # Its end may be that of its node, which is known by now.
            self._refresh()
            unavailable = isinstance(error, ActorUnavailableError)
            lost = unavailable or (worker.node_id != "" and worker.node_id not in self._nodes)
            return (self._lost if lost else self.ended)(worker, _reason(error))
        if worker.trials:
            results: list[TrialResult] = answer
            return results
        if worker.node_id:
            problem, ready = answer
            return self._refuse(worker, problem) if problem else ready
        facts = Facts(*answer)
        worker.node_id = facts.node_id
        problem = self._refused.get(facts.node_id) or differences(facts.versions)
        if problem:
            return self._refuse(worker, problem)
        worker.starting_since = time.monotonic()
        worker.awaited = worker.actor.start.remote(
            self._options.device, self._options.gpus_per_worker, self._settings
        )
        return None

    def give(self, worker: _Actor, trials: list[Trial]) -> None:
        """See Crew."""
        name = trials[0].dataset.name
        worker.awaited = worker.actor.run.remote(trials, {name: self._images[name]})

    def ended(self, worker: _Actor, reason: str) -> Ended:
        """See Crew."""
        if worker.trials:
            return Ended(f"the worker on {self._name(worker)} ended: {reason}")
        return Ended(
            f"a worker on {self._name(worker)} cannot start ({reason}); "
            "mnist-sweep doctor --executor ray shows the nodes"
        )

    def _lost(self, worker: _Actor, reason: str) -> Ended:
        """As ``ended``, for a worker that its node took along: its trials are not to blame."""
        self._losses.update(trial.trial_id for trial in worker.trials)
        elsewhere = [t for t in worker.trials if self._losses[t.trial_id] <= MAX_LOSSES]
        if elsewhere:
            self._say(f"node {self._name(worker)} was lost; its trials run elsewhere")
        return Ended(self.ended(worker, reason).blame if worker.trials else "", elsewhere)

    def _refuse(self, worker: _Actor, problem: str) -> Ended:
        """Take no worker on this node again."""
        self._refused[worker.node_id] = problem
        self._say(f"node {self._name(worker)} is not used: {problem}")
        self._looked = float("-inf")
        return Ended("")

    def _name(self, worker: _Actor) -> str:
        return self._names.get(worker.node_id, "a node")

    def dismiss(self, worker: _Actor) -> None:
        """See Crew."""
        self.workers.remove(worker)
        ray.kill(worker.actor)
