"""What laws ask of a log; see ``requirement``."""

from collections.abc import Mapping
from typing import Final

from appliance.evidence.requirement import RETENTION, Framework, asks

LAWS: Final[Mapping[str, Framework]] = {
    "eu-ai-act": Framework(
        title="Regulation (EU) 2024/1689, logging of high-risk AI systems",
        requirements=(
            asks(
                "Art. 12(1)",
                "Events are logged automatically over the lifetime.",
                "catalogue",
                "calls",
                "running",
                "kept",
            ),
            asks(
                "Art. 12(2)",
                "Logs let risks and changes be traced.",
                "models",
                "changes",
                "authorisation",
                "search",
                left="What a risk is, and its watch after the market, is the site's.",
            ),
            asks(
                "Art. 19, 26(6)",
                "Logs are kept for six months at least.",
                "kept",
                "tamper-evident",
                left=RETENTION,
            ),
            asks(
                "Art. 26(5)",
                "Use is monitored.",
                "feed",
                "search",
                left="People monitor; nothing here judges an answer.",
            ),
            asks(
                "Art. 14",
                "People oversee the system.",
                left="Human oversight is no part of this appliance.",
            ),
        ),
    ),
    "hipaa": Framework(
        title="45 CFR 164.312, technical safeguards",
        requirements=(
            asks(
                "164.312(a)(1)",
                "Access only by those who have rights.",
                "authorisation",
                "identity",
            ),
            asks(
                "164.312(a)(2)(i)",
                "A unique name for each user.",
                "identity",
                left="Give each person or system a key of its own.",
            ),
            asks(
                "164.312(a)(2)(iv)",
                "Data at rest is encrypted.",
                "sealed",
                left="Records, models and the rest of the disk are not: encrypt it.",
            ),
            asks(
                "164.312(b)",
                "Activity is recorded and examined.",
                "calls",
                "reading",
                "search",
                left="That somebody examines it is the site's.",
            ),
            asks(
                "164.312(c)(1)",
                "No improper change or destruction.",
                "tamper-evident",
                left="That is of records; health data elsewhere is the site's.",
            ),
            asks(
                "164.312(d)",
                "Who asks is who they say.",
                "identity",
                left="A key is proved, not the person who holds it.",
            ),
            asks(
                "164.312(e)(1)",
                "Protection in transmission.",
                left="Plain HTTP on the loopback address; a TLS proxy is the site's.",
            ),
            asks(
                "164.316(b)(2)(i)",
                "Documentation is kept six years.",
                "kept",
                left=RETENTION,
            ),
        ),
    ),
    "dpdp": Framework(
        title="India, Digital Personal Data Protection Rules 2025, rule 6",
        requirements=(
            asks(
                "6(1)(a)",
                "Data is secured by encryption, masking or the like.",
                "minimal",
                "sealed",
                "withheld",
                "for-one",
                left="The disk and the way to the host are the site's to encrypt.",
            ),
            asks("6(1)(b)", "Access is controlled.", "authorisation", "identity"),
            asks(
                "6(1)(c)",
                "Access is visible by logs, monitoring and review.",
                "calls",
                "reading",
                "feed",
                left="Monitoring is the site's.",
            ),
            asks("6(1)(e)", "Logs are kept for one year.", "kept", left=RETENTION),
            asks(
                "Minimisation",
                "No more personal data than needed.",
                "minimal",
                "withheld",
            ),
            asks(
                "Place",
                "Data stays where it must.",
                "residency",
                "containment",
                left="Where exports are carried is for people to decide.",
            ),
        ),
    ),
    "gdpr": Framework(
        title="Regulation (EU) 2016/679",
        requirements=(
            asks(
                "Art. 5(1)(c)",
                "No more personal data than needed.",
                "minimal",
                "withheld",
            ),
            asks(
                "Art. 17",
                "Personal data is erased.",
                "erased",
                left="Records hold pseudonyms; the table of who they are is the "
                "site's, and is what it erases.",
            ),
            asks(
                "Art. 30",
                "Processing is recorded.",
                "calls",
                "handed-out",
                left="Purposes and recipients are the site's to add.",
            ),
            asks(
                "Art. 32",
                "Processing is secure.",
                "authorisation",
                "texts",
                "texts-out",
                "for-one",
                "containment",
                "sealed",
                "tamper-evident",
                left="Risks to weigh, disk and transport to encrypt are the site's.",
            ),
            asks(
                "Art. 44",
                "No transfer without grounds.",
                "residency",
                "containment",
                left="Where exports are carried is for people.",
            ),
        ),
    ),
}
"""Laws, by the name that the command line has for them."""
