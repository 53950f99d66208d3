"""A file of prompts becomes a file of answers, whatever happens in between: docs/batch.md."""

from streamnursery.batch.files import Files, RealFiles
from streamnursery.batch.finish import Merged, merge
from streamnursery.batch.lines import BatchRow
from streamnursery.batch.options import Shard
from streamnursery.batch.provider_run import ProviderBatches
from streamnursery.batch.run import run
from streamnursery.batch.runner import BatchProgress
from streamnursery.batch.tasks import BatchTask, TaskAnswer, TaskRow

__all__ = [
    "BatchProgress",
    "BatchRow",
    "BatchTask",
    "Files",
    "Merged",
    "ProviderBatches",
    "RealFiles",
    "Shard",
    "TaskAnswer",
    "TaskRow",
    "merge",
    "run",
]
