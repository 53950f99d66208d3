"""The figures of a session."""

from typing import TYPE_CHECKING

import attrs

from streamnursery.values.session import SessionStatistics

if TYPE_CHECKING:
    from streamnursery.sessions.link import SessionLink
    from streamnursery.sessions.session import Session


@attrs.define
class EndedLinks:
    """What was received, and what links that are over have counted."""

    received: int = 0
    beats: int = 0
    missed: int = 0
    wall_jumps: int = 0

    def add(self, link: "SessionLink") -> None:
        if link.pulse is not None:
            self.beats += link.pulse.beats
            self.missed += link.pulse.missed
            self.wall_jumps += link.pulse.wall_jumps

    def with_links(self, links: "tuple[SessionLink, ...]") -> "EndedLinks":
        """Those of living links included."""
        whole = attrs.evolve(self)
        for link in links:
            whole.add(link)
        return whole


def session_statistics(session: "Session") -> SessionStatistics:
    """A snapshot."""
    link, keeper, outbox = session.link, session.keeper, session.messages.outbox
    usable = link is not None and link.usable
    pulse = link.pulse if link is not None else None
    past = session.past.with_links(session.links)
    return SessionStatistics(
        state=session.state,
        connections=keeper.connections if keeper else 0,
        reconnects=keeper.reconnects if keeper else 0,
        renewals=keeper.renewals if keeper else 0,
        beats=past.beats,
        missed_beats=past.missed,
        wall_jumps=past.wall_jumps,
        round_trip=pulse.round_trip if pulse else None,
        connected_at=link.opened_at if link is not None and usable else None,
        pending_messages=len(outbox),
        pending_bytes=outbox.nbytes,
        outcomes={o.value: n for o, n in outbox.outcomes.items()},
        received=past.received,
        buffered_events=len(session.inbox),
        buffered_bytes=session.inbox.nbytes + session.buffers.current_bytes,
        streams=session.lanes.in_flight,
        lanes=len(session.lanes.named),
    )
