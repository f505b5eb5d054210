"""What the README repeats of the program: the demo's narration and the settings.

``python -m tests.support.narration`` plays the demo and puts its real output,
and the table of settings, into the README. Tests compare both; in the narration
everything is masked that differs from run to run.
"""

import re
import subprocess
import sys
from pathlib import Path

from appliance.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
BEGIN = "<!-- demo:begin -->\n```console\n"
END = "```\n<!-- demo:end -->"
SETTINGS_BEGIN = "<!-- settings:begin -->\n"
SETTINGS_END = "<!-- settings:end -->"
EXCERPT = re.compile(r"<!-- demo:step (\d+) -->\n```console\n(.*?)```\n", re.DOTALL)

MASKS = (
    (r"sallyport-demo-[a-z0-9_]{8}", "sallyport-demo-SCRATCH"),
    (r"(sallyport/audit/)[0-9a-f]{16}(\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)?", r"\1LOG"),
    (r"spk_[0-9A-Za-z_]+", "KEY"),
    (r'("key_id": ")[0-9A-Za-z]{8}', r"\1ID"),
    (r"\bkey [0-9A-Za-z]{8} of", "key ID of"),
    (r"([0-9a-f]{4} ){15}[0-9a-f]{4}", "FINGERPRINT"),
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b[0-9a-f]{8}…[0-9a-f]{8}\b", "SHORT"),
    (r"\b[0-9a-f]{12}\b", "KEYID"),
    (r"\bc/[0-9a-f]{2}/", "c/XX/"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"\d{4}-\d\d-\d\d", "DATE"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"in \d+ pieces", "in N pieces"),
    (r"\d\d:\d\d:\d\d,\d{3}", "CLOCK"),
    (r"[\d,]+ bytes taken, [\d,]+ planned \(\S+\), [\d,]+ resident", "SIZES"),
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


def settings_table() -> str:
    """Return the table of every setting, from the settings themselves."""
    rows = ["| section | setting | default | what it bounds |", "|---|---|---|---|"]
    for attribute, part in Settings.model_fields.items():
        section = part.alias or attribute
        for name, field in type(part.default).model_fields.items():
            default = _shown(field.default)
            rows.append(
                f"| `[{section}]` | `{name}` | {default} | {field.description} |"
            )
    return "\n".join(rows) + "\n"


def _shown(default: object) -> str:
    """Return a setting's default as a person reads it."""
    if isinstance(default, int):
        return f"{default:,}"
    if isinstance(default, tuple):
        return ", ".join(default) or "none"
    return str(default) or "none"


def step_of(narration: str, number: str) -> str:
    """Return the text of one numbered step of a narration."""
    steps = re.split(r"\n(?=\d+\. |== |Every step)", narration)
    (found,) = [step for step in steps if step.startswith(f"{number}. ")]
    return found.strip("\n") + "\n"


def excerpts_of(text: str) -> list[tuple[str, str]]:
    """Return the numbered steps that a README shows by themselves."""
    return [(str(found[1]), str(found[2])) for found in EXCERPT.finditer(text)]


def main() -> int:
    """Put the output of a run into the README."""
    done = play()
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        return 1
    text = readme()
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    text = before + BEGIN + done.stdout + END + after
    text = EXCERPT.sub(
        lambda found: (
            f"<!-- demo:step {found[1]} -->\n```console\n"
            f"{step_of(done.stdout, found[1])}```\n"
        ),
        text,
    )
    head, _, rest = text.partition(SETTINGS_BEGIN)
    tail = rest.partition(SETTINGS_END)[2]
    text = head + SETTINGS_BEGIN + settings_table() + SETTINGS_END + tail
    (REPOSITORY / "README.md").write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
