"""What is counted and recorded when a stream has its outcome."""

from streamnursery.pipeline.delivery import Delivery, StreamOutcome
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.ports import Recorder
from streamnursery.values.cost import total_cost, usd
from streamnursery.values.lifecycle import StreamEnded


def count_outcome(course: Course, recorder: Recorder, delivery: Delivery) -> None:
    """Count a delivery's outcome into its model's statistics, once, and record it."""
    assert delivery.outcome is not None
    timings = delivery.timings()
    meter = course.meter
    if not delivery.draining:  # what it uses is known when it has been drained
        meter.usage(delivery.usage, timings)
    category = delivery.error.category if delivery.error is not None else None
    match delivery.outcome:
        case StreamOutcome.COMPLETE:
            meter.succeeded += 1
            meter.latency.add(timings.duration or 0.0)
        case StreamOutcome.CANCELLED:
            meter.cancelled += 1
        case StreamOutcome.FAILED:
            meter.failed += 1
            meter.errors[category or "engine_error"] += 1
    if recorder.listening:
        usage = delivery.usage
        recorder.emit(
            StreamEnded(
                delivery.ended_at or 0.0,
                course.number,
                course.model,
                outcome=delivery.outcome.value,
                category=category,
                attempts=len(delivery.attempts),
                content_events=delivery.content_events,
                seconds=timings.duration or 0.0,
                ttft=timings.time_to_first_token,
                input_tokens=usage.input_tokens if usage is not None else None,
                output_tokens=usage.output_tokens if usage is not None else None,
                cost_usd=usd(total_cost(delivery.attempts)),
            )
        )
