"""The workers of a sweep on a Ray cluster: asking for them, feeding them, losing them.

Ray decides where a worker runs and when there is room for it; what a worker does next is decided
here, as for local processes. A worker has only the trials that it trains, so nothing waits anywhere
but in the driver, and results come back as they are made.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
import ray.cloudpickle
from ray.exceptions import ActorUnavailableError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mnist_sweep.errors import DeviceError
from mnist_sweep.executors import ray_worker
from mnist_sweep.executors.local import POLL, START_ATTEMPTS, START_TIMEOUT, Ready, Settings
from mnist_sweep.executors.ray_executor import ClusterOptions, Node, Note
from mnist_sweep.executors.ray_worker import Facts
from mnist_sweep.plan import Assignments, Cohort, Shape, plan, shape_of
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
_Actor: Any = ray.remote(ray_worker.RayWorker)


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
        actor = _Actor.options(num_cpus=0, scheduling_strategy=there).remote()
        asked[node_id] = actor, actor.facts.remote()
    references = [facts for _, facts in asked.values()]
    answered, _ = ray.wait(references, num_returns=len(references), timeout=ANSWER_TIMEOUT)
    found = []
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
        found.append(Node(node_name(node), cpus, gpus, versions, problem))
    return found


def _reason(error: RayError) -> str:
    """The one sentence of Ray's many that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("The actor is dead because ")]
    return (told or lines or [type(error).__name__])[0].partition(". Some common causes")[0]


@dataclass(eq=False)
class _Worker:
    """An actor, and the answer that we await from it."""

    actor: Any
    awaited: Any
    stage: Literal["asked", "starting", "running", "idle"] = "asked"
    since: float = 0.0
    node_id: str = ""
    ready: Ready = field(default_factory=Ready)
    trials: Sequence[Trial] = ()
    shape: Shape | None = None


class Pool:
    """Runs trials in actors of the cluster that this process is connected to.

    ``images`` are references to the data sets in the object store, by name. ``elastic`` says
    whether nodes may join. Whoever ends the pool early ends the connection, and the actors with it.
    """

    def __init__(
        self, options: ClusterOptions, settings: Settings, images: dict[str, Any], *, elastic: bool
    ) -> None:
        self._options = options
        self._settings = settings
        self._images = images
        self._elastic = elastic
        self._workers: list[_Worker] = []
        self._nodes: dict[str, Mapping[str, Any]] = {}
        self._looked = float("-inf")
        self._refused: dict[str, str] = {}
        self._returned: deque[Trial] = deque()
        self._losses: Counter[str] = Counter()
        self._failed_starts = 0
        self._notes: list[str] = []
        self._told: set[str] = set()
        self._names: dict[str, str] = {}
        self._worked = time.monotonic()

    def run(
        self, cohorts: Sequence[Cohort], stopped: Callable[[], bool]
    ) -> Iterator[TrialResult | Note]:
        """Yield the result of each trial as it ends, and notes in between.

        A trial that fails is tried once more, in a worker of its own. Raises DeviceError if no node
        can train.
        """
        again: list[Trial] = []
        for message in self._once(Assignments(cohorts), stopped, reuse=True):
            if isinstance(message, TrialResult) and message.status == "failed":
                again.append(message.trial)
            else:
                yield message
        yield from self._once(Assignments(plan(again)), stopped, reuse=False)

    def _once(
        self, assignments: Assignments, stopped: Callable[[], bool], *, reuse: bool
    ) -> Iterator[TrialResult | Note]:
        """Try every trial once; without ``reuse``, each in a worker that had none before."""
        while not stopped():
            busy = sum(worker.stage == "running" for worker in self._workers)
            left = assignments.left + len(self._returned)
            if not busy + left:
                break
            self._look()
            self._ask_for(min(self._wanted(), busy + left))
            for worker in self._with_news():
                results = self._listen(worker)
                if worker.stage == "idle":
                    fresh = reuse or worker.shape is None
                    self._give(worker, self._next(assignments, worker) if fresh else [])
                yield from results
            while self._notes:
                yield Note(self._notes.pop(0))
        while self._workers:
            self._remove(self._workers[0])

    # The cluster

    def _look(self) -> None:
        """Learn which nodes there are, now and then; tell the user if they have no room for us."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        self._refresh()
        room = self._room()
        if not room and self._refused:
            raise DeviceError(f"no node of the cluster can be used: {self._told_of_refused()}")
        if not room and not self._elastic:
            raise DeviceError(f"this machine has no {self._needs}; ask for less")
        if any(worker.stage != "asked" for worker in self._workers):
            self._worked = self._looked
        if not room:
            self._say(f"no node of the cluster has {self._needs}; waiting for one to join")
        elif self._looked - self._worked > PATIENCE:
            self._say(f"the cluster has no {self._needs} free; waiting")

    def _refresh(self) -> None:
        self._nodes = alive_nodes()
        # A node keeps its name when it is gone: it is then that the user hears of it.
        self._names.update((node_id, node_name(node)) for node_id, node in self._nodes.items())

    def _room(self) -> int:
        """How many workers fit on the nodes that we can use, were they ours alone."""
        gpus = self._options.gpus_per_worker
        room = 0.0
        for node_id, node in self._nodes.items():
            if node_id not in self._refused:
                slots = int(node["Resources"].get("CPU", 0))
                if gpus:
                    # A fraction of a GPU is one of a single GPU: it is not put together of two.
                    there = int(node["Resources"].get("GPU", 0))
                    shares = there * int(1 / gpus) if gpus <= 1 else there // int(gpus)
                    slots = min(slots, shares)
                room += slots
        return int(room)

    @property
    def _needs(self) -> str:
        gpus = self._options.gpus_per_worker
        return f"CPU and {gpus:g} GPU for a worker" if gpus else "CPU for a worker"

    def _wanted(self) -> int:
        """How many workers to have or to wait for.

        One more than there is room for tells a cluster that can grow that there is work for it.
        """
        return self._options.jobs or self._room() + self._elastic

    def _ask_for(self, count: int) -> None:
        """Ask Ray for workers, which it starts where and when there is room, up to ``count``."""
        for _ in range(count - len(self._workers)):
            elsewhere = {"ray.io/node-id": f"!in({','.join(self._refused)})"}
            actor = _Actor.options(
                num_cpus=1,
                num_gpus=self._options.gpus_per_worker,
                max_restarts=0,
                max_task_retries=0,
                label_selector=elsewhere if self._refused else None,
            ).remote()
            self._workers.append(_Worker(actor, actor.facts.remote()))

    # The workers

    def _with_news(self) -> list[_Worker]:
        by_answer = {worker.awaited: worker for worker in self._workers}
        answers, _ = ray.wait(list(by_answer), num_returns=1, timeout=POLL, fetch_local=False)
        if answers:
            everything = len(by_answer)
            answers, _ = ray.wait(
                list(by_answer), num_returns=everything, timeout=0, fetch_local=False
            )
        overdue = [w for w in self._workers if self._overdue(w) and w.awaited not in answers]
        return [by_answer[answer] for answer in answers] + overdue

    @staticmethod
    def _overdue(worker: _Worker) -> bool:
        return worker.stage == "starting" and time.monotonic() - worker.since > START_TIMEOUT

    def _listen(self, worker: _Worker) -> list[TrialResult]:
        """Take a worker's answer, or notice its end; the results of trials if they came of it."""
        if self._overdue(worker):
            return self._bury(worker, f"did not start within {START_TIMEOUT:.0f} s", lost=False)
        try:
            answer = ray.get(worker.awaited)
        except RayError as error:
            # Its end may be that of its node, which is known by now.
            self._refresh()
            lost = isinstance(error, ActorUnavailableError) or (
                worker.node_id != "" and worker.node_id not in self._nodes
            )
            return self._bury(worker, _reason(error), lost=lost)
        if worker.stage == "running":
            worker.stage, worker.trials = "idle", ()
            results: list[TrialResult] = answer
            return results
        if worker.stage == "asked":
            facts = Facts(*answer)
            worker.node_id = facts.node_id
            problem = self._refused.get(facts.node_id) or differences(facts.versions)
            if not problem:
                worker.stage, worker.since = "starting", time.monotonic()
                worker.awaited = worker.actor.start.remote(
                    self._options.device,
                    self._options.gpus_per_worker,
                    self._settings,
                    self._images,
                )
        else:
            problem, ready = answer
            if not problem:
                worker.stage, worker.ready = "idle", ready
                self._failed_starts = 0
                if ready.note:
                    self._say(ready.note)
        if problem:
            self._refuse(worker, problem)
        return []

    def _next(self, assignments: Assignments, worker: _Worker) -> list[Trial]:
        if self._returned:
            return [self._returned.popleft()]
        return assignments.take_stack(worker.shape, worker.ready.stack)

    def _give(self, worker: _Worker, trials: list[Trial]) -> None:
        """Have ``worker`` run ``trials``, or send it away where there are none for it."""
        if not trials:
            self._remove(worker)
            return
        worker.stage, worker.trials, worker.shape = "running", trials, shape_of(trials[0])
        worker.awaited = worker.actor.run.remote(trials)

    def _bury(self, worker: _Worker, reason: str, *, lost: bool) -> list[TrialResult]:
        """Do without ``worker``; its trials have failed, or run elsewhere if its node is lost."""
        self._remove(worker)
        name = self._name(worker)
        if not worker.trials:
            self._failed_starts += not lost
            if self._failed_starts >= START_ATTEMPTS:
                raise DeviceError(
                    f"a worker on {name} cannot start ({reason}); "
                    "mnist-sweep doctor --executor ray shows the nodes"
                )
            return []
        failed = []
        for trial in worker.trials:
            self._losses[trial.trial_id] += lost
            if lost and self._losses[trial.trial_id] <= MAX_LOSSES:
                self._say(f"node {name} was lost; its trials run elsewhere")
                self._returned.append(trial)
            else:
                error = f"the worker on {name} ended: {reason}"
                failed.append(TrialResult(sweep="", trial=trial, status="failed", error=error))
        return failed

    def _refuse(self, worker: _Worker, problem: str) -> None:
        """Take no worker on this node again."""
        self._remove(worker)
        self._refused[worker.node_id] = problem
        self._say(f"node {self._name(worker)} is not used: {problem}")
        self._looked = float("-inf")

    def _told_of_refused(self) -> str:
        return "; ".join(
            f"{self._names[node_id]}: {self._refused[node_id]}"
            for node_id in self._nodes
            if node_id in self._refused
        )

    def _name(self, worker: _Worker) -> str:
        return self._names.get(worker.node_id, "a node")

    def _say(self, text: str) -> None:
        """Tell the user once."""
        if text not in self._told:
            self._told.add(text)
            self._notes.append(text)

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        ray.kill(worker.actor)
