"""How much a job's author may hand over. The table in docs/authors.md shows the same numbers.

Texts are cut, and say so; a checkpoint or a result that is too large is an error of the handler.
"""

TYPE_TITLE_CHARS = 300
TYPE_DESCRIPTION_CHARS = 10_000

ERROR_TYPE_CHARS = 100
ERROR_TITLE_CHARS = 300
ERROR_DETAIL_CHARS = 4_000
REASON_CHARS = 500
"""An exception in one line: its class and message. And why a type is not available."""
TRACEBACK_CHARS = 50_000
TRACEBACK_LINES = 600

MESSAGE_CHARS = 500
"""The message of a progress report."""
WORD_CHARS = 80
"""The unit and the step of a progress report."""

LOG_LINE_CHARS = 4_000
LOG_LINES_PER_SECOND = 100
LOG_BURST_LINES = 500
LOG_LINES_PER_ATTEMPT = 10_000

CHECKPOINT_BYTES = 1024 * 1024
RESULT_URL_CHARS = 2_000
RESULT_BYTES = 16 * 1024 * 1024
INTEGER_DIGITS = 4_300
"""What Python reads of an integer by default (`sys.set_int_max_str_digits`), with a client's JSON too."""

OUTPUT_FILES = 50_000
OUTPUT_BYTES = 64 * 1024**3
OUTPUT_NOTES = 20
"""Log lines about files that were left out or renamed."""
