"""Problems and conversations on disk: JSONL or Parquet in verl's schema, bad rows to a quarantine file."""

from gppo.records.checks import Conversation, conversation_from_row, problem_from_row
from gppo.records.quarantine import BadRowError, Quarantine
from gppo.records.read import read_conversations, read_problems
from gppo.records.rows import iter_rows
from gppo.records.write import write_conversations, write_problems

__all__ = [
    "BadRowError",
    "Conversation",
    "Quarantine",
    "conversation_from_row",
    "iter_rows",
    "problem_from_row",
    "read_conversations",
    "read_problems",
    "write_conversations",
    "write_problems",
]
