"""The child process that examines one model: ``python -m appliance.intake.examiner``.

The model is standard input, the answer goes to standard output. The process
confines itself before it reads a byte, and loads no weights.
"""

import os
import sys

from appliance.intake.answer import Answer, Refusal, encode_answer
from appliance.intake.confine import confine
from appliance.intake.template import check_template
from bundleformat.errors import LimitExceededError, RefusalError
from bundleformat.gguf import read_facts


def main() -> int:
    """Examine standard input and write the answer; a crash is the parent's to judge."""
    confine()
    answer = encode_answer(examine(sys.stdin.fileno()))
    while answer:
        answer = answer[os.write(sys.stdout.fileno(), answer) :]
    return 0


def examine(descriptor: int) -> Answer:
    """Return the answer for the file open at ``descriptor``."""
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            facts = read_facts(file, size_bytes=os.fstat(descriptor).st_size)
        check_template(facts.chat_template)
    except RefusalError as error:
        return Answer(refused=Refusal.of(error))
    except MemoryError:
        return Answer(refused=Refusal.of(LimitExceededError("needs too much memory")))
    return Answer(facts=facts)


if __name__ == "__main__":
    sys.exit(main())
