"""Planted defects: one each, as somebody in a hurry might write it, and who should notice.

Each is a piece of text that stands in its file once, and what takes its place.
"""

import attrs


@attrs.frozen
class Mutant:
    """One defect."""

    name: str
    """What the engine does wrong then."""
    file: str
    """Below `engine/streamnursery/`."""
    old: str
    new: str
    tests: tuple[str, ...]
    """Who should notice, below `tests/`; run in this order."""


def _mutant(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(name, file, old, new, tests)


CORE, SIM, PROP, WIRE = "unit/core/", "simulation/", "property/", "unit/wire/"

MUTANTS = (
    # Slots and the queue.
    _mutant(
        "a lease's slots are never given back",
        "scheduler/admission/lease.py",
        "            self._lessor.give_back(self)",
        "            pass",
        SIM + "test_admission.py",
    ),
    _mutant(
        "a lease is given back twice",
        "scheduler/admission/lease.py",
        "            self.released = True\n",
        "",
        SIM + "test_admission.py",
        SIM + "test_scenarios_answer.py",
    ),
    _mutant(
        "a waiter that is cancelled as it gets its slots keeps them",
        "scheduler/admission/admission.py",
        "                waiter.lease.release()\n            self._evicted",
        "                pass\n            self._evicted",
        SIM + "test_admission.py",
    ),
    _mutant(
        "the next of a lane is forgotten when the first is served",
        "core/limits/ready_queue.py",
        "            self.wake(lane)\n            return head",
        "            return head",
        PROP + "test_ready_queue.py",
    ),
    _mutant(
        "a priority counts for nothing",
        "core/limits/ready_queue.py",
        "return min(self.queues)",
        "return max(self.queues)",
        PROP + "test_ready_queue.py",
    ),
    _mutant(
        "units per minute are forgotten after half a minute",
        "core/limits/bucket.py",
        "while log and log[0].at + WINDOW <= now:",
        "while log and log[0].at + WINDOW / 2 <= now:",
        CORE + "test_bucket.py",
        PROP + "test_bucket_laws.py",
    ),
    # The stream between provider and consumer.
    _mutant(
        "a batch behind another is delivered twice",
        "pipeline/channel.py",
        "            self._behind.append((items, nbytes))",
        "            self._behind.extend([(items, nbytes)] * 2)",
        SIM + "test_channel.py",
    ),
    _mutant(
        "what waits behind a batch is lost",
        "pipeline/channel.py",
        "self._behind.popleft() if self._behind else None",
        "None",
        SIM + "test_channel.py",
    ),
    _mutant(
        "a reader swallows its Cancelled",
        "pipeline/channel.py",
        "            await trio.lowlevel.wait_task_rescheduled(self._abort_wait)\n        return",
        "            try:\n"
        "                await trio.lowlevel.wait_task_rescheduled(self._abort_wait)\n"
        "            except trio.Cancelled:\n"
        "                return None\n        return",
        PROP + "test_traffic.py",
    ),
    _mutant(
        "a request is settled twice",
        "pipeline/delivery.py",
        "    def _settle(self, outcome: StreamOutcome, error: EngineError | None) -> None:\n"
        "        if self.outcome is not None:\n"
        "            return\n",
        "    def _settle(self, outcome: StreamOutcome, error: EngineError | None) -> None:\n",
        SIM + "test_scenarios_consumer.py",
        SIM + "test_scenarios_answer.py",
    ),
    _mutant(
        "leaving a block does not wait for the stream's task",
        "scheduler/run/dispatcher.py",
        "        await self._delivery.wait_over()",
        "        await trio.lowlevel.checkpoint()",
        SIM + "test_scenarios_consumer.py",
        SIM + "test_transport_cancel_sweep.py",
    ),
    _mutant(
        "unread events of a stream that was left count as buffered for ever",
        "scheduler/run/dispatcher.py",
        "        delivery.channel.discard()\n        del",
        "        del",
        SIM + "test_scenarios_consumer.py",
        SIM + "test_world.py",
    ),
    _mutant(
        "text that arrives late in a slow consumer's stream is repeated when it is resumed",
        "core/recovery/overlap.py",
        "held[repeated:] if repeated",
        "held[repeated - 1 :] if repeated",
        PROP + "test_overlap.py",
        CORE + "test_interruption.py",
    ),
    # Clocks.
    _mutant(
        "the provider's clocks run on while the consumer is slow",
        "core/recovery/patience.py",
        "            self._paused_at = now\n\n",
        "            pass\n\n",
        CORE + "test_patience.py",
    ),
    _mutant(
        "the watchdog is forgotten once a slow consumer has caught up",
        "supervisor/sink.py",
        "        self._clock.resume(self._time.current_time())\n",
        "",
        SIM + "test_watchdog.py",
    ),
    _mutant(
        "nobody watches a stalled answer",
        "supervisor/attempt.py",
        "with trio.CancelScope(deadline=self.clock.deadline) as sink.watch:",
        'with trio.CancelScope(deadline=float("inf")) as sink.watch:',
        SIM + "test_scenarios_body.py",
    ),
    # Failing, and what comes after it.
    _mutant(
        "an answer is asked for again after text of it was delivered",
        "core/recovery/next_step.py",
        "    if failure.committed:\n",
        "    if False:\n",
        CORE + "test_next_step.py",
    ),
    _mutant(
        "Retry-After is ignored",
        "core/recovery/next_step.py",
        "failure.retry_after or 0.0, turn, dice",
        "0.0, turn, dice",
        CORE + "test_next_step.py",
    ),
    _mutant(
        "a date in the past is a negative wait",
        "wire/retry_after.py",
        "max(0.0, moment - now)",
        "moment - now",
        WIRE + "test_retry_after.py",
    ),
    _mutant(
        "a breaker listens to calls of a generation that is over",
        "core/recovery/breaker.py",
        "        if generation != self.generation:\n"
        "            return\n"
        "        if self.circuit is Circuit.HALF_OPEN:\n"
        "            self._prove",
        "        if self.circuit is Circuit.HALF_OPEN:\n            self._prove",
        CORE + "test_breaker.py",
    ),
    _mutant(
        "a half-open breaker lets everybody through",
        "core/recovery/breaker.py",
        "now if out < self.policy.probes else",
        "now if out >= 0 else",
        CORE + "test_breaker.py",
    ),
    _mutant(
        "a retry that was never sent stays paid for",
        "core/recovery/retry_budget.py",
        "        self._add(cost)\n",
        "",
        CORE + "test_retry_budget.py",
    ),
    _mutant(
        "each attempt has another idempotency key",
        "supervisor/attempt_headers.py",
        "if known == route:",
        "if known != route:",
        SIM + "test_idempotency_key.py",
    ),
    # Secrets.
    _mutant(
        "the first endpoint's key goes to all the others",
        "supervisor/endpoint.py",
        "            headers=_headers(endpoint, dialect),\n            peer",
        '            headers=cls.__dict__.get("kept") or setattr(cls, "kept", '
        '_headers(endpoint, dialect)) or cls.__dict__["kept"],\n            peer',
        SIM + "test_threats_engine.py",
    ),
    _mutant(
        "a redirect is no reason to refuse",
        "transport/client.py",
        "    if location is None or head.status not in _REDIRECTS:",
        "    if True:",
        SIM + "test_threats_engine.py",
        "integration/test_threats_transport.py",
    ),
    _mutant(
        "a secret prints itself",
        "values/secret.py",
        "return \"Secret('***')\"",
        "return self._reveal()",
        "unit/values/test_secret.py",
    ),
    # Bytes.
    _mutant(
        "a clean end is proof enough that an answer is whole",
        "wire/evidence.py",
        "    frozenset({Sign.EVERY_CHOICE_FINISHED, Sign.CLEAN_END}),\n)",
        "    frozenset({Sign.CLEAN_END}),\n)",
        WIRE + "test_evidence.py",
    ),
    _mutant(
        "a signature comes back on another call",
        "wire/gemini/content.py",
        "calls[part.tool][part.kind] = part.data",
        "calls[0][part.kind] = part.data",
        WIRE + "test_gemini_request.py",
        SIM + "test_gemini.py",
    ),
    _mutant(
        "thoughts come back behind the calls that they led to",
        "wire/anthropic_messages/content.py",
        "    yield from calls[called:]",
        "    yield from calls",
        WIRE + "test_anthropic_messages_request.py",
        SIM + "test_anthropic_messages.py",
    ),
    _mutant(
        "a spent limit is retried as a rate limit",
        "wire/error_details.py",
        "return [code] if isinstance(code, str) else []",
        "return []",
        WIRE + "test_anthropic_messages_stream.py",
    ),
    _mutant(
        "a line end that is cut in two counts twice",
        "wire/sse.py",
        'self._skip_lf = chunk.endswith(b"\\r")',
        "self._skip_lf = False",
        WIRE + "test_sse.py",
    ),
    _mutant(
        "an event may be as long as it likes",
        "wire/sse.py",
        "if len(self._data) + len(value) > self._max_event:",
        "if False:",
        WIRE + "test_sse.py",
    ),
    _mutant(
        "a choice finishes as often as the provider says so",
        "wire/openai_chat/stream.py",
        "if reason and not _failure_told(reason) and known is None:",
        "if reason and not _failure_told(reason):",
        WIRE + "test_openai_chat.py",
        WIRE + "test_openai_chat_streams.py",
    ),
    _mutant(
        "a connection that its server has closed is used again",
        "transport/pool.py",
        " and _is_quiet(idle.connection)",
        "",
        "unit/transport/test_pool.py",
    ),
    _mutant(
        "a response is not closed when its attempt ends",
        "supervisor/attempt.py",
        "            finally:\n                response.close()",
        "            finally:\n                pass",
        SIM + "test_scenarios_body.py",
    ),
    _mutant(
        "a stream's window is never given back",
        "transport/http2/state.py",
        "self.outbox.control += frames.window_update(stream.id, increment)\n        return",
        "del increment\n        return",
        "unit/transport/http2/test_state.py",
    ),
    _mutant(
        "an HTTP/2 stream that was left is not reset",
        "transport/http2/state.py",
        "            self.outbox.control += frames.rst_stream(stream.id, code)\n\n",
        "            pass\n\n",
        "unit/transport/http2/test_state.py",
    ),
    # Sessions.
    _mutant(
        "messages that a broken connection had not sent are lost",
        "core/sessions/outbox.py",
        "deque([*again, *self._waiting])",
        "deque([*self._waiting])",
        CORE + "test_outbox.py",
    ),
    _mutant(
        "a message that may have arrived is sent again",
        "core/sessions/outbox.py",
        "if entry.repeatable or not entry.maybe_sent:",
        "if True:",
        CORE + "test_outbox.py",
    ),
    # Money.
    _mutant(
        "the usage is counted twice",
        "core/measure/meter.py",
        "self.output_tokens += tokens",
        "self.output_tokens += 2 * tokens",
        CORE + "test_meter.py",
    ),
    _mutant(
        "what others hold does not count against a budget",
        "core/money/ledger.py",
        "figures.total + waiting + amount > limit.amount:",
        "figures.total + amount > limit.amount:",
        CORE + "test_ledger.py",
    ),
    _mutant(
        "a hold that was dropped counts on",
        "core/money/ledger.py",
        "            self._add_held(payer, -amount)",
        "            pass",
        CORE + "test_ledger.py",
    ),
    _mutant(
        "an attempt of unknown cost is free",
        "core/money/settlement.py",
        "return Settlement(News.DOUBT, flags=unpriced)",
        "return Settlement(News.RELEASE, flags=unpriced)",
        CORE + "test_settlement.py",
    ),
    _mutant(
        "fractions of a nano-dollar are rounded in our favour",
        "core/money/pricing.py",
        "return -(-total // TOKENS_PER_RATE)",
        "return total // TOKENS_PER_RATE",
        CORE + "test_pricing.py",
    ),
    _mutant(
        "a reservation that was written as its request was cancelled stays reserved",
        "storage/ledger_file.py",
        "                self._take_back(entry)\n            raise",
        "                pass\n            raise",
        SIM + "test_buggify.py",
    ),
    # Clocks, and what leaves.
    _mutant(
        "a clock strikes before what lies unread was read",
        "supervisor/attempt.py",
        "if self._expired() is None or not await response.catch_up():",
        "if True:",
        SIM + "test_clocks.py",
    ),
    _mutant(
        "a late strike is as good as one in time",
        "core/recovery/patience.py",
        "if late < LATE or most is None",
        "if True or most is None",
        SIM + "test_clocks.py",
    ),
    _mutant(
        "a clock is not armed again when content has come",
        "supervisor/sink.py",
        "            self.rearm()\n",
        "            pass\n",
        SIM + "test_watchdog.py",
        SIM + "test_scenarios_body.py",
    ),
    _mutant(
        "connections that are begun again and again are not counted",
        "supervisor/outgoing.py",
        "        self.connections += 1\n",
        "",
        SIM + "test_outgoing.py",
    ),
    _mutant(
        "a request goes out again as often as nobody looks at it",
        "supervisor/outgoing.py",
        "if self._full or self.requests >= self.attempts + RESENT:",
        "if False:",
        SIM + "test_outgoing.py",
    ),
    _mutant(
        "one absurd Retry-After closes a route for a day",
        "core/recovery/circuit_gate.py",
        "seconds = min(seconds, MAX_PAUSE) if again else believed",
        "seconds = min(seconds, MAX_PAUSE)",
        CORE + "test_circuit_gate.py",
    ),
    _mutant(
        "a breaker opens while calls come back",
        "core/recovery/breaker.py",
        "and now >= self._answered_at + policy.quiet",
        "and True",
        CORE + "test_breaker.py",
    ),
    _mutant(
        "statistics go on after they were taken",
        "core/measure/histogram.py",
        "self._counts, self._shared = self._counts[:], False",
        "pass",
        CORE + "test_meter.py",
    ),
    # What an embedder asks for.
    _mutant(
        "a default goes before what the request says",
        "values/request_defaults.py",
        "is not None and getattr(request, name) is None",
        "is not None",
        SIM + "test_request_defaults.py",
    ),
    _mutant(
        "an answer's cost leaves out what may be charged for an attempt without one",
        "scheduler/money/bill.py",
        "uncertain=Money(bid.worst if doubtful else 0)",
        "uncertain=Money(0)",
        SIM + "test_cost.py",
    ),
    _mutant(
        "the error of a stream that was cut short does not know its last attempt",
        "pipeline/delivery.py",
        "            self.error.attempts = tuple(self.attempts)\n        if",
        "            pass\n        if",
        SIM + "test_cost.py",
    ),
    _mutant(
        "a call that will be tried again counts as failed",
        "facade/own_calls.py",
        "        return tries.wait is not None",
        "        return False",
        SIM + "test_own_calls.py",
    ),
    _mutant(
        "an own call is tried again whatever it raised",
        "scheduler/run/own_calls.py",
        " or not isinstance(error, self.call.retry_on)",
        "",
        SIM + "test_own_calls.py",
    ),
    _mutant(
        "a schema lets objects have fields that nobody asked for",
        "values/structured.py",
        '                schema.setdefault("additionalProperties", False)',
        "                pass",
        SIM + "test_structured.py",
    ),
    _mutant(
        "an answer that is no such value does not say where",
        "values/structured.py",
        "    error.text, error.where = text, where",
        '    error.text, error.where = text, ""',
        SIM + "test_structured.py",
    ),
    _mutant(
        "a keyword of requests is forgotten for type checkers",
        "values/request_fields.py",
        "    seed: int | None\n",
        "",
        SIM + "test_structured.py",
    ),
    _mutant(
        "the slots of an own stream go back while its iterator is still closing",
        "scheduler/run/own_streams.py",
        "[one for one in self._stream.pulled if one.closing]",
        "[]",
        SIM + "test_own_streams.py",
    ),
    _mutant(
        "an own iterator is read on though nobody has room",
        "scheduler/run/own_streams.py",
        "                    await self._room.wait()",
        "                    await trio.lowlevel.checkpoint()",
        SIM + "test_own_streams.py",
    ),
    _mutant(
        "a task that only inherited a context counts as inside of its block",
        "scheduler/admission/nesting.py",
        "            return nursery in task.child_nurseries[holding.nurseries :]",
        "            return True",
        SIM + "test_nested_leases.py",
    ),
    _mutant(
        "nested leases of two tasks wait for each other for ever",
        "scheduler/admission/nesting.py",
        "pinned = {lease for held in stuck.values() for lease in held}",
        "pinned = set(stuck[newest])",
        SIM + "test_nested_leases.py",
    ),
    _mutant(
        "a key that was refused goes first again at once",
        "scheduler/run/keyring.py",
        "            self._rests[name] = record.at + REST",
        "            pass",
        SIM + "test_keys.py",
    ),
    _mutant(
        "a budget of an endpoint holds for its first key alone",
        "values/keys.py",
        '    return _KEY.sub("", endpoint)',
        "    return endpoint",
        SIM + "test_keys.py",
    ),
    _mutant(
        "a model is in the first of its groups alone",
        "scheduler/admission/lane.py",
        "limits += [limit for group, limit in self._groups.values() if group.has(model)]",
        "limits += [limit for group, limit in self._groups.values() if group.has(model)][:1]",
        SIM + "test_groups.py",
    ),
    _mutant(
        "requests of a tenant with limits of its own wait in the lane of the others",
        "scheduler/admission/lane.py",
        "tenant if tenant in self._tenants else None",
        "None",
        SIM + "test_groups.py",
    ),
    _mutant(
        "who waits stays under the limits of a group that it left",
        "scheduler/admission/changes.py",
        "        if self.lanes.state_tenants(tenants) or grouped:",
        "        if self.lanes.state_tenants(tenants):",
        SIM + "test_limit_changes.py",
    ),
    _mutant(
        "who stands anew keeps its old lane",
        "scheduler/admission/queue.py",
        "            waiter.lane = waiter.path = lane_of(waiter.demand)",
        "            lane_of(waiter.demand)",
        SIM + "test_limit_changes.py",
    ),
    _mutant(
        "a group's share counts turns of every group",
        "core/limits/lane_order.py",
        "            self.groups.serve(name, self.groups.start(name), part)",
        "            self.groups.serve(name, self.groups.start(name), 1.0)",
        SIM + "test_limit_changes.py",
    ),
    _mutant(
        "the file forgets what a group's models have spent",
        "storage/ledger_book.py",
        "        own = [name for name in names if group in self._limits.groups_of(name)]",
        "        own: list[str] = []",
        SIM + "test_limit_changes.py",
    ),
    _mutant(
        "a model counts in the budget of no group",
        "core/money/ledger.py",
        'found[1:1] = [("group", name) for name in self.groups_of(payer.model)]',
        "pass",
        PROP + "test_ledger_machine.py",
        SIM + "test_limit_changes.py",
    ),
    _mutant(
        "an own call that failed without a report has cost nothing",
        "scheduler/money/call_money.py",
        "        posting = Posting(reservation.row.id, News.DOUBT, flags=frozenset(flags))",
        "        posting = Posting(reservation.row.id, News.RELEASE)",
        SIM + "test_own_calls_money.py",
    ),
    _mutant(
        "an own call that is not admitted keeps its money",
        "scheduler/run/calls.py",
        "            held.drop()\n            raise\n        try:",
        "            raise\n        try:",
        SIM + "test_own_calls_money.py",
    ),
    _mutant(
        "a key that was withdrawn goes out with what was queued",
        "facade/limits.py",
        "        for name in self._outlets.keys() - new.endpoints.keys():",
        "        for name in ():",
        SIM + "test_keys.py",
    ),
    _mutant(
        "a new key rests for what the old one did",
        "scheduler/run/keyring.py",
        "        same = {name for name in known if endpoints.get(name) == self._endpoints.get(name)}",
        "        same = known",
        SIM + "test_keys.py",
    ),
    _mutant(
        "a key that its command does not print is tried first again",
        "scheduler/run/keyring.py",
        "error.status in (_UNAUTHORIZED, None)",
        "error.status == _UNAUTHORIZED",
        "integration/test_token_command.py",
    ),
    _mutant(
        "a replica that has seen the prompt is as good as any other",
        "core/routing/prefix_affinity.py",
        "(-known.get(one, 0), loads[one])",
        "(0, loads[one])",
        SIM + "test_prefix_balance.py",
    ),
    _mutant(
        "a popular prompt crowds one replica",
        "core/routing/prefix_affinity.py",
        "[one for one in replicas if loads[one] + 1 <= most]",
        "[]",
        SIM + "test_prefix_balance.py",
    ),
    # The border to other threads.
    _mutant(
        "a reader in another thread is not woken",
        "bridge/outbox.py",
        "        armed, self._armed = self._armed, True\n        return not armed",
        "        armed, self._armed = self._armed, True\n        return armed",
        PROP + "test_outbox_machine.py",
    ),
    _mutant(
        "a reader in another thread waits for more, and keeps what it took",
        "bridge/outbox.py",
        "            report = self._done_with(box)\n            if box.batches or box.ended:",
        "            report = False\n            if box.batches or box.ended:",
        PROP + "test_outbox_machine.py",
    ),
    _mutant(
        "a sender that waits for a reader in another thread looks no second time",
        "bridge/channel.py",
        "            self._look()\n        finally",
        "            self._host.outbox.collect(self.unread, watch=True)\n        finally",
        PROP + "test_outbox_machine.py",
    ),
    _mutant(
        "an exception in a call from another thread ends the engine",
        "bridge/thread.py",
        "            except BaseException as error:  # noqa: BLE001 - it belongs to the call",
        "            except EngineClosedError as error:",
        "integration/test_aio.py",
    ),
    _mutant(
        "a thread that leaves a stream does not wait for its end",
        "sync/waits.py",
        "        self.wait_over(host, box, lambda: box.over, seconds)",
        "        pass",
        "integration/test_sync.py",
    ),
    # What is passed on.
    _mutant(
        "a relay hands on the usage that its caller has not asked for",
        "supervisor/relay.py",
        "        return asks.usage_filter()",
        "        return None",
        PROP + "test_relay_bytes.py",
    ),
    _mutant(
        "a caller's query goes to the endpoint of a fallback too",
        "supervisor/relay.py",
        "        at_home = outlet.endpoint.name == self.home",
        "        at_home = True",
        SIM + "test_relay.py",
    ),
    _mutant(
        "headers for the engine are sent to the provider",
        "sdk/asked.py",
        "        if not name.startswith(_OURS)",
        "        if name",
        SIM + "test_sdk_clients.py",
    ),
    # The harness and its verdicts.
    _mutant(
        "a part of an answer passes for the whole",
        "testing/told.py",
        "    return told == meant or (",
        "    return meant.startswith(told) or (",
        PROP + "test_failures_explain.py",
        PROP + "test_foreign_clients.py",
    ),
    _mutant(
        "any text with U+FFFD in it passes",
        "testing/told.py",
        "(unreadable and _marked(told, meant))",
        "_marked(told, meant)",
        PROP + "test_foreign_clients.py",
    ),
    _mutant(
        "a replay line forgets what was drawn",
        "testing/simulation.py",
        '    given = {"seed": seed, **({} if http == "auto" else {"http": http}), **drawn}',
        '    given = {"seed": seed, **({} if http == "auto" else {"http": http})}',
        PROP + "test_failures_explain.py",
    ),
    _mutant(
        "a cut byte stream carries one byte more",
        "testing/byte_streams.py",
        "view[: self._left] as part",
        "view[: self._left + 1] as part",
        SIM + "test_world_byte_streams.py",
    ),
    _mutant(
        "a client that never asked is judged by what it says",
        "testing/grade_verdict.py",
        "    if not log:\n        return Verdict.DID_NOT_ASK\n",
        "",
        "integration/test_grade.py",
    ),
    _mutant(
        "a client that fails its plain answers is graded",
        "testing/grade.py",
        "        if problem and not may_fail_calibration(tuple(command)):",
        "        if False:",
        "integration/test_grade.py",
    ),
    _mutant(
        "the page of requests does not escape",
        "simulator/page.py",
        "from html import escape",
        "escape = str  # what it is replaced by",
        "integration/test_sim_page.py",
    ),
    _mutant(
        "the page answers to any name",
        "serving/local_names.py",
        "        return ip_address(host).is_loopback",
        "        return True or ip_address(host).is_loopback",
        "integration/test_sim_page.py",
    ),
    _mutant(
        "a batch asks its endpoint again whenever somebody looks",
        "simulator/batches.py",
        "        batch.done = True\n",
        "",
        "unit/simulator/test_embeddings_files_batches.py",
    ),
)
