"""Scenarios: commands to a few members joined by lists, and the transcript that they are expected to give.

    # a comment
    cluster 3
    ----

    campaign 1
    ----
    1 candidate, leader 0

    stabilize
    ----
    ...

`python -m tests.scenarios.raft.runner --rewrite [FILE ...]` writes what happens now into the files; review the diff.
The commands are the methods of `Scenario` that begin with `do_`; each has its usage in its docstring.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from raft.core import (
    ConfChange,
    ConfChangeTransition,
    ConfChangeV2,
    Config,
    ConfState,
    Entry,
    EntryType,
    HardState,
    Message,
    MessageType,
    Peer,
    RawNode,
    ReadOnlyOption,
    Ready,
    Snapshot,
)
from raft.errors import ConfChangeError, LogLostError, ProposalDroppedError, UnexpectedMessageError
from tests.scenarios.raft import describe
from tests.scenarios.raft.describe import CODEC

DIRECTORY = Path(__file__).resolve().parent
ELECTION_TICKS = 3
ROUNDS_MAX = 200


class Scenario:
    """Members without disk, network or clock: a list of messages under way, and a held write here and there."""

    def __init__(self) -> None:
        self.nodes: dict[int, RawNode] = {}
        self.flying: list[Message] = []
        self.held: dict[int, Ready] = {}
        self.late: list[Message] = []
        self.cut: set[int] = set()
        self.configuration = Config(
            id=1,
            random_below=lambda limit: limit - 1,
            codec=CODEC,
            election_ticks=ELECTION_TICKS,
            pre_vote=False,
            check_quorum=False,
        )
        self.founders: list[int] = []
        self.out: list[str] = []

    def run(self, line: str) -> str:
        """Run one command; returns what it printed."""
        self.out = []
        command, *words = line.split()
        quiet = command == "quietly"
        if quiet:
            command, *words = words
        try:
            getattr(self, f"do_{command.replace('-', '_')}")(*words)
        except (ProposalDroppedError, ConfChangeError, UnexpectedMessageError, ValueError) as error:
            self.out.append(f"error: {error}")
        return "" if quiet else "".join(f"{text}\n" for text in self.out)

    # Members

    def do_options(self, *words: str) -> None:
        """options NAME=VALUE ...: settings of the members made from here on, by their names in `Config`."""
        for word in words:
            name, _, text = word.partition("=")
            name = name.replace("-", "_")
            value: object = text == "on" if text in ("on", "off") else text
            if name == "read_only_option":
                value = ReadOnlyOption(text)
            elif isinstance(value, str):
                value = int(text)
            self.configuration = replace(self.configuration, **{name: value})  # type: ignore[arg-type]

    def do_cluster(self, count: str, *words: str) -> None:
        """cluster N [learners=A,B]: members 1 to N, whose logs begin behind a snapshot at index 1 of term 1."""
        options = dict(word.split("=") for word in words)
        ids = range(1, int(count) + 1)
        learners = tuple(map(int, options["learners"].split(","))) if "learners" in options else ()
        state = ConfState(tuple(member for member in ids if member not in learners), learners)
        for member_id in ids:
            self._make(member_id, Snapshot(1, 1, state), ())

    def do_found(self, count: str) -> None:
        """found N: members 1 to N found a cluster from nothing."""
        peers = [Peer(member_id) for member_id in range(1, int(count) + 1)]
        for peer in peers:
            self._make(peer.id, None, ()).bootstrap(peers)

    def do_member(self, member_id: str, *words: str) -> None:
        """member ID [log=T,T,...] [term=T] [voters=A,B]: one with these terms in its log from index 1 on."""
        options = dict(word.split("=") for word in words)
        terms = [int(term) for term in options["log"].split(",")] if options.get("log") else []
        entries = tuple(Entry(index, term, b"%d" % index) for index, term in enumerate(terms, start=1))
        voters = tuple(map(int, options["voters"].split(","))) if "voters" in options else ()
        state = HardState(int(options.get("term", terms[-1] if terms else 0)))
        self._make(int(member_id), None, entries, ConfState(voters), state)

    def _make(
        self,
        member_id: int,
        snapshot: Snapshot | None,
        entries: tuple[Entry, ...],
        state: ConfState | None = None,
        hard_state: HardState | None = None,
    ) -> RawNode:
        self.nodes[member_id] = RawNode(
            replace(self.configuration, id=member_id),
            snapshot=snapshot,
            entries=entries,
            conf_state=state,
            hard_state=hard_state or HardState(1 if snapshot else 0, 0, 1 if snapshot else 0),
        )
        return self.nodes[member_id]

    def do_cut(self, *ids: str) -> None:
        """cut ID ...: whatever goes to or comes from these members is lost."""
        self.cut |= set(map(int, ids))

    def do_heal(self) -> None:
        """heal: no member is cut off any more."""
        self.cut.clear()

    # Requests

    def do_campaign(self, member_id: str) -> None:
        """campaign ID: stand for election."""
        self.nodes[int(member_id)].campaign()

    def do_propose(self, member_id: str, *data: str) -> None:
        """propose ID DATA ...: one proposal of one or more entries."""
        self.nodes[int(member_id)].propose([text.encode() for text in data])

    def do_change(self, member_id: str, kind: str, *words: str) -> None:
        """change ID v1|auto|implicit|explicit +VOTER -MEMBER ~LEARNER ..., or change ID leave."""
        singles = describe.parse_changes(list(words))
        if kind == "v1":
            self.nodes[int(member_id)].propose_conf_change(ConfChange(singles[0].type, singles[0].node_id))
            return
        transitions = {
            "leave": ConfChangeTransition.AUTO,
            "auto": ConfChangeTransition.AUTO,
            "implicit": ConfChangeTransition.JOINT_IMPLICIT,
            "explicit": ConfChangeTransition.JOINT_EXPLICIT,
        }
        self.nodes[int(member_id)].propose_conf_change(ConfChangeV2(transitions[kind], singles))

    def do_tick(self, member_id: str, count: str = "1") -> None:
        """tick ID [N]: let time pass."""
        for _ in range(int(count)):
            self.nodes[int(member_id)].tick()

    def do_read(self, member_id: str, context: str) -> None:
        """read ID CONTEXT: ask for a read point."""
        self.nodes[int(member_id)].read_index(context.encode())

    def do_transfer(self, member_id: str, to: str) -> None:
        """transfer ID TO: ask ID to see that TO leads."""
        self.nodes[int(member_id)].transfer_leadership(int(to))

    def do_forget_leader(self, member_id: str) -> None:
        """forget-leader ID"""
        self.nodes[int(member_id)].forget_leader()

    def do_unreachable(self, member_id: str, peer: str) -> None:
        """unreachable ID PEER: ID's transport could not reach PEER."""
        self.nodes[int(member_id)].report_unreachable(int(peer))

    def do_snapshot_status(self, member_id: str, peer: str, result: str) -> None:
        """snapshot-status ID PEER ok|failed"""
        self.nodes[int(member_id)].report_snapshot(int(peer), ok=result == "ok")

    def do_vote_request(self, candidate: str, to: str, term: str) -> None:
        """vote-request CANDIDATE TO term=T: a request from a candidate of another story."""
        node = self.nodes[int(to)]
        node.step(
            Message(
                type=MessageType.VOTE,
                sender=int(candidate),
                to=int(to),
                term=int(term.removeprefix("term=")),
                index=node.last_index,
                log_term=node.term_at(node.last_index) or 0,
            )
        )

    def do_compact(self, member_id: str, index: str) -> None:
        """compact ID INDEX: snapshot what is applied and drop the log up to INDEX."""
        node = self.nodes[int(member_id)]
        node.create_snapshot(node.applied_index, node.conf_state, b"")
        node.compact(int(index))

    def do_snapshot(self, member_id: str) -> None:
        """snapshot ID: snapshot what is applied; the log stays."""
        node = self.nodes[int(member_id)]
        node.create_snapshot(node.applied_index, node.conf_state, b"")

    def do_send_snapshot(self, member_id: str, to: str) -> None:
        """send-snapshot ID TO: ID's newest snapshot is on its way to TO, without ID's having decided so."""
        node = self.nodes[int(member_id)]
        message = Message(type=MessageType.SNAP, sender=node.id, to=int(to), term=node.term, snapshot=node.snapshot)
        self.flying.append(message)

    # Looking

    def do_status(self, *ids: str) -> None:
        """status [ID ...]"""
        for member_id in self._ids(ids):
            self.out += describe.status(self.nodes[member_id].status())

    def do_log(self, *ids: str) -> None:
        """log [ID ...]: the entries in memory."""
        for member_id in self._ids(ids):
            node = self.nodes[member_id]
            entries = node.entries(node.first_index, node.last_index)
            self.out.append(f"{member_id} first={node.first_index} {describe.entries(entries)}")

    def _ids(self, words: tuple[str, ...]) -> list[int]:
        return [int(word) for word in words] or sorted(self.nodes)

    # Work

    def do_ready(self, member_id: str, mode: str = "") -> None:
        """ready ID [hold]: do what one Ready asks for; with `hold`, the write stays under way until `persist`."""
        self._ready(int(member_id), hold=mode == "hold")

    def do_persist(self, member_id: str) -> None:
        """persist ID: the write that was held is durable."""
        ready = self.held.pop(int(member_id))
        self._persisted(int(member_id), ready)

    def _ready(self, member_id: int, *, hold: bool = False) -> None:
        node = self.nodes[member_id]
        ready = node.ready()
        if ready.soft_state is not None:
            self.out.append(f"{member_id} {ready.soft_state.role.value}, leader {ready.soft_state.leader}")
        for message in ready.messages:
            self.flying.append(message)
            self.out.append(describe.message(message))
        if ready.must_sync or ready.hard_state:
            self.out.append(f"{member_id} stores{_stored(ready)}")
        for state in ready.read_states:
            self.out.append(f"{member_id} may read {state.context.decode()} at {state.index}")
        if ready.committed_entries:
            self._apply(node, ready.committed_entries)
        if not ready.must_sync:
            return
        if hold:
            self.held[member_id] = ready
        else:
            self._persisted(member_id, ready)

    def _persisted(self, member_id: int, ready: Ready) -> None:
        node = self.nodes[member_id]
        node.persisted()
        if ready.snapshot is not None:
            self.out.append(f"{member_id} restores the snapshot at {ready.snapshot.index}")
            node.applied(ready.snapshot.index)

    def _apply(self, node: RawNode, entries: tuple[Entry, ...]) -> None:
        self.out.append(f"{node.id} applies {describe.entries(entries)}")
        for entry in entries:
            if entry.type is not EntryType.NORMAL:
                try:
                    state = node.apply_conf_change(CODEC.decode(entry))
                except ConfChangeError as error:
                    self.out.append(f"{node.id} cannot apply {entry.index}: {error}")
                    continue
                self.out.append(f"{node.id} is in {describe.conf_state(state)}")
        node.applied(entries[-1].index)

    def do_deliver(self, *words: str) -> None:
        """deliver [ID ...] [type=NAME]: deliver what is under way to these members (to all)."""
        ids, kind = self._split(words)
        self._deliver(ids, kind)

    def do_hold(self, kind: str) -> None:
        """hold type=NAME: keep what is under way of this kind back until `release`."""
        name = kind.removeprefix("type=")
        self.late += [it for it in self.flying if it.type.name == name]
        self.flying = [it for it in self.flying if it.type.name != name]

    def do_release(self) -> None:
        """release: what was held back is under way again."""
        self.flying, self.late = self.flying + self.late, []

    def do_redirect(self, to: str) -> None:
        """redirect TO: what was held back will go to TO, as if its senders had known no better."""
        self.late = [replace(message, to=int(to)) for message in self.late]

    def do_drop(self, *words: str) -> None:
        """drop [ID ...] [type=NAME]: lose what is under way to these members (to all)."""
        ids, kind = self._split(words)
        for message in self._take(ids, kind):
            self.out.append(f"lost {describe.message(message)}")

    def _split(self, words: tuple[str, ...]) -> tuple[list[int], str]:
        kind = next((word[5:] for word in words if word.startswith("type=")), "")
        return self._ids(tuple(word for word in words if "=" not in word)), kind

    def _take(self, ids: list[int], kind: str = "") -> list[Message]:
        taken = [it for it in self.flying if it.to in ids and kind in ("", it.type.name)]
        self.flying = [it for it in self.flying if not (it.to in ids and kind in ("", it.type.name))]
        return taken

    def _deliver(self, ids: list[int], kind: str = "") -> bool:
        messages = self._take(ids, kind)
        for message in messages:
            if message.sender not in self.cut and message.to not in self.cut and message.to in self.nodes:
                try:
                    self.nodes[message.to].step(message)
                except (UnexpectedMessageError, ProposalDroppedError, LogLostError) as error:
                    self.out.append(f"{message.to} refuses: {error}")
        return bool(messages)

    def do_stabilize(self, *ids: str) -> None:
        """stabilize [ID ...]: let these members (all) work and talk until nothing is left to do."""
        chosen = self._ids(ids)
        for _ in range(ROUNDS_MAX):
            busy = False
            for member_id in chosen:
                while self.nodes[member_id].has_ready:
                    self._ready(member_id)
                    busy = True
            if not self._deliver(chosen) and not busy:
                return
        raise AssertionError("the members do not come to rest")


def _stored(ready: Ready) -> str:
    text = ""
    if ready.hard_state:
        text += f" term={ready.hard_state.term} vote={ready.hard_state.vote} commit={ready.hard_state.commit}"
    if ready.snapshot:
        text += f" snapshot={ready.snapshot.index}/{ready.snapshot.term}"
    if ready.entries:
        text += f" {describe.entries(ready.entries)}"
    return text


def replay(text: str) -> str:
    """Run a scenario file; returns it with the output that its commands give now."""
    scenario, result, lines = Scenario(), "", iter(text.splitlines())
    for line in lines:
        if not line.strip() or line.startswith("#"):
            result += f"{line}\n"
            continue
        result += f"{line}\n----\n{scenario.run(line)}\n"
        assert next(lines) == "----", f"{line!r} is not followed by ----"
        while next(lines, ""):
            pass
    return result.rstrip("\n") + "\n"


def main() -> int:
    """Compare or rewrite scenario files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rewrite", action="store_true", help="write what happens now into the files")
    parser.add_argument("files", nargs="*", type=Path, help="all of them by default")
    arguments = parser.parse_args()
    differing = 0
    for path in arguments.files or sorted(DIRECTORY.glob("*.txt")):
        text = path.read_text()
        now = replay(text)
        if now != text:
            differing += 1
            print(f"{path.name} {'rewritten' if arguments.rewrite else 'differs'}")
            if arguments.rewrite:
                path.write_text(now)
    return 1 if differing and not arguments.rewrite else 0


if __name__ == "__main__":
    sys.exit(main())
