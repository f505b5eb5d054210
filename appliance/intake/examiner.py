"""The child process that examines one model: ``python -m appliance.intake.examiner``.

The model is standard input; further parts of a split one are open files whose
numbers are the arguments. The answer goes to standard output. The process confines
itself before it reads a byte, and loads no weights.
"""

import contextlib
import os
import sys
from collections.abc import Sequence

from appliance.intake.answer import Answer, Refusal, encode_answer
from appliance.intake.confine import confine
from appliance.intake.template import check_template
from bundleformat.errors import LimitExceededError, RefusalError
from bundleformat.gguf import ModelFacts, read_facts
from bundleformat.gguf_split import Part, read_split_facts


def main() -> int:
    """Examine standard input and write the answer; a crash is the parent's to judge."""
    confine()
    answer = encode_answer(examine(sys.stdin.fileno(), *map(int, sys.argv[1:])))
    while answer:
        answer = answer[os.write(sys.stdout.fileno(), answer) :]
    return 0


def examine(*descriptors: int) -> Answer:
    """Return the answer for the files open at ``descriptors``, in their order."""
    try:
        with contextlib.ExitStack() as stack:
            parts = [
                _part(stack, number, descriptor, count=len(descriptors))
                for number, descriptor in enumerate(descriptors, start=1)
            ]
            facts = _read_facts(parts)
        check_template(facts.chat_template)
    except RefusalError as error:
        return Answer(refused=Refusal.of(error))
    except MemoryError:
        return Answer(refused=Refusal.of(LimitExceededError("needs too much memory")))
    return Answer(facts=facts)


def _read_facts(parts: Sequence[Part]) -> ModelFacts:
    if len(parts) > 1:
        return read_split_facts(parts)
    return read_facts(parts[0].file, size_bytes=parts[0].size_bytes)


def _part(
    stack: contextlib.ExitStack, number: int, descriptor: int, *, count: int
) -> Part:
    file = stack.enter_context(os.fdopen(descriptor, "rb", closefd=False))
    return Part(
        file=file,
        size_bytes=os.fstat(descriptor).st_size,
        where=f"part {number} of {count}",
    )


if __name__ == "__main__":
    sys.exit(main())
