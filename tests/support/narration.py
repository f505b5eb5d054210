"""The demo's narration: played, masked, and kept in the README.

``python -m tests.support.narration`` plays the demo and puts its real output
into the README; a test compares the two with everything masked that differs
from run to run.
"""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
BEGIN = "<!-- demo:begin -->\n```console\n"
END = "```\n<!-- demo:end -->"

MASKS = (
    (r"sallyport-demo-[a-z0-9_]{8}", "sallyport-demo-SCRATCH"),
    (r"(sallyport/audit/)[0-9a-f]{16}(\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)?", r"\1LOG"),
    (r"spk_[0-9A-Za-z_]+", "KEY"),
    (r'("key_id": ")[0-9A-Za-z]{8}', r"\1ID"),
    (r"\bkey [0-9A-Za-z]{8} of", "key ID of"),
    (r"([0-9a-f]{4} ){15}[0-9a-f]{4}", "FINGERPRINT"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b[0-9a-f]{12}\b", "KEYID"),
    (r"\bc/[0-9a-f]{2}/", "c/XX/"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"in \d+ pieces", "in N pieces"),
)
"""What differs from run to run, and what stands for it in the comparison."""


def play(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Play the demo."""
    return subprocess.run(
        [sys.executable, "-m", "bundler.demo", *arguments],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def masked(text: str) -> str:
    """Return ``text`` without what differs from run to run."""
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return text


def readme() -> str:
    """Return the whole README."""
    return (REPOSITORY / "README.md").read_text("utf-8")


def narration_of(text: str) -> str:
    """Return the narration that a README holds."""
    return text.partition(BEGIN)[2].partition(END)[0]


def main() -> int:
    """Put the output of a run into the README."""
    done = play()
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        return 1
    text = readme()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    new = before + BEGIN + done.stdout + END + after
    (REPOSITORY / "README.md").write_text(new, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
