"""Flower's side: what is in a message, the app of the sites, the app of the coordinator.

Needs the `federated` extra. A message holds arrays (written by `numpy.save` without pickle) and
numbers, nothing else; errors of a site reach the coordinator by their kind alone, since their text
may name files, and stand in full in the site's own `failures.txt`.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Array as Sent
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from oncoseg import files
from oncoseg.case import Array
from oncoseg.errors import BadRun, OncosegError
from oncoseg.federate.rounds import Rounds
from oncoseg.federate.site import Site, Update

FAILED = 600  # codes from 100 on are free for applications
WAIT = 120.0
# Whatever may go wrong at a site must not stop the others, nor tell them what its files are called.
CAUSES = (OncosegError, ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)


def client_app(sites: Sequence[Site]) -> ClientApp:
    """The app that every site runs; which one it is, its node says as `partition-id`."""
    app = ClientApp()

    @app.query()
    def name(message: Message, context: Context) -> Message:
        """Which site a node is, by its number."""
        here = MetricRecord({"site": int(context.node_config["partition-id"])})
        return Message(RecordDict({"figures": here}), reply_to=message)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        """A round of training."""
        site = sites[int(context.node_config["partition-id"])]
        told: Any = message.content["round"]
        number = int(told["number"])
        try:
            update = site.fit(unpacked(message), number)
        except CAUSES as error:
            files.write_text(site.run.folder / "failures.txt", traceback.format_exc())
            reason = f"{type(error).__name__} in round {number}, told in its own failures.txt"
            return Message(Error(FAILED, reason), reply_to=message)
        return Message(packed(update), reply_to=message)

    return app


def packed(update: Update) -> RecordDict:
    """An update as a message's content: arrays and two numbers."""
    return RecordDict(
        {
            "weights": arrays(update.weights),
            "figures": MetricRecord({"cases": update.cases, "loss": update.loss}),
        }
    )


def arrays(weights: Mapping[str, Array]) -> ArrayRecord:
    """Arrays as Flower sends them."""
    return ArrayRecord({name: Sent(value) for name, value in weights.items()})


def unpacked(message: Message) -> dict[str, Array]:
    """The arrays of a message."""
    record: Any = message.content["weights"]
    return {name: value.numpy() for name, value in record.items()}


def server_app(rounds: Rounds, sites: Sequence[str], count: int, seen: list[Any]) -> ServerApp:
    """The coordinator's app: `count` rounds over the named sites.

    Lines of the log go to `seen`; so does the error that ended it, since Flower runs it in a thread
    and versions differ in what becomes of errors there.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Any, context: Context) -> None:
        try:
            ask = Asked(grid, named(grid, sites))
            seen.extend(rounds(ask, number) for number in range(count))
        except OncosegError as error:
            seen.append(error)

    return app


@dataclass(frozen=True)
class Asked:
    """Sends the weights to every node and waits for what each makes of them."""

    grid: Any
    nodes: Mapping[int, str]

    def __call__(self, weights: Mapping[str, Array], number: int) -> dict[str, Update | str]:
        """What came of each site by name: an update, or why none."""
        content: dict[str, Any] = {
            "weights": arrays(weights),
            "round": ConfigRecord({"number": number}),
        }
        sent = [
            Message(RecordDict(content), dst_node_id=node, message_type="train")
            for node in self.nodes
        ]
        found: dict[str, Update | str] = dict.fromkeys(self.nodes.values(), "no answer came")
        for reply in self.grid.send_and_receive(sent):
            found[self.nodes[reply.metadata.src_node_id]] = self.read(reply)
        return found

    @staticmethod
    def read(reply: Message) -> Update | str:
        """An update, or why there is none."""
        if reply.has_error():
            told = reply.error.code == FAILED
            return str(reply.error.reason) if told else "it stopped where nobody foresaw it"
        try:
            figures: Any = reply.content["figures"]
            return Update(unpacked(reply), int(figures["cases"]), float(figures["loss"]))
        except (AttributeError, LookupError, TypeError, ValueError):
            return "its message cannot be read"


def named(grid: Any, sites: Sequence[str]) -> dict[int, str]:
    """Node -> name of its site, once all are there; raises `BadRun` if they do not come."""
    until = time.monotonic() + WAIT
    nodes: list[int] = []
    while len(nodes) < len(sites) and time.monotonic() < until:
        nodes = list(grid.get_node_ids())
        time.sleep(0 if len(nodes) >= len(sites) else 0.1)
    asked = [Message(RecordDict(), dst_node_id=node, message_type="query") for node in nodes]
    found = {
        reply.metadata.src_node_id: sites[number_of(reply)]
        for reply in grid.send_and_receive(asked)
        if not reply.has_error()
    }
    if sorted(found.values()) != sorted(sites):
        gone = ", ".join(sorted(set(sites) - set(found.values())))
        raise BadRun(f"no answer came from {gone or 'some sites'}; start the federation again")
    return found


def number_of(reply: Message) -> int:
    """Which site a node says that it is."""
    figures: Any = reply.content["figures"]
    return int(figures["site"])


@dataclass
class Here:
    """The sites one after another in this process, by the same messages; `sent` keeps them all."""

    app: ClientApp
    contexts: dict[int, Context]
    sent: list[Message] = field(default_factory=list)

    def get_node_ids(self) -> Iterable[int]:
        """Every site's node."""
        return list(self.contexts)

    def send_and_receive(self, messages: Iterable[Message]) -> list[Message]:
        """Hand each message to its site and gather the replies."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            reply = self.app(message, self.contexts[node])
            self.sent += [message, reply]
            replies.append(reply)
        return replies


def run_here(server: ServerApp, client: ClientApp, count: int) -> list[Message]:
    """Run both apps in this process; returns every message that was sent."""
    with contextlib.suppress(ImportError):  # versions before it give messages no identity
        identity: Any = importlib.import_module("flwr.supercore.task_identity").TaskIdentity
        identity.run_id, identity.task_id, identity.node_id = 1, 1, 0
    contexts = {
        node: Context(1, node, {"partition-id": node - 1}, RecordDict(), {})
        for node in range(1, count + 1)
    }
    grid: Any = Here(client, contexts)
    server(grid, Context(1, 0, {}, RecordDict(), {}))
    return list(grid.sent)


def run_simulation(server: ServerApp, client: ClientApp, count: int, cores: int) -> None:
    """Run both apps by Flower's simulation engine: a process a site, `cores` of them at once."""
    quiet()
    simulation = importlib.import_module("flwr.simulation")
    simulation.run_simulation(
        server,
        client,
        count,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": min(count, cores)},
        },
    )


def quiet() -> None:
    """No log of Flower's on the screen, and nobody is told that it was used.

    Flower reports its use to its makers unless that is switched off; Ray does not, started so.
    """
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    for module in ("flwr.supercore.telemetry", "flwr.common.telemetry"):
        with contextlib.suppress(ImportError):
            found: Any = importlib.import_module(module)
            found.FLWR_TELEMETRY_ENABLED = "0"
            found.create_event = told_nothing


def told_nothing(*_: Any, **__: Any) -> str:
    """Stands in for what would report the use of Flower."""
    return "disabled"
