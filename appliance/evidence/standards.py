"""What standards ask of a log; see ``requirement``."""

from collections.abc import Mapping
from typing import Final

from appliance.evidence.requirement import GUARDED, RETENTION, Framework, asks

STANDARDS: Final[Mapping[str, Framework]] = {
    "pci": Framework(
        title="PCI DSS 4.0.1, requirement 10",
        requirements=(
            asks(
                "10.2.1.1",
                "Individual access to data.",
                "calls",
                "identity",
                left="A key stands for a person where the site gives each one its own.",
            ),
            asks(
                "10.2.1.2",
                "Actions with administrative rights.",
                "changes",
                "authorisation",
                "identity",
                left="Records name accounts of the operating system, whose logins the "
                "site gives to persons; what is done past these commands is the "
                "operating system's to log.",
            ),
            asks("10.2.1.3", "Access to audit logs.", "reading", "texts-out"),
            asks(
                "10.2.1.4",
                "Invalid attempts to get in.",
                "identity",
                left="Failed keys at /v1/models are not recorded.",
            ),
            asks("10.2.1.5", "Changes of credentials.", "identity"),
            asks(
                "10.2.1.6",
                "Start, stop and pause of logging.",
                "running",
                "fail-closed",
                "tamper-evident",
            ),
            asks(
                "10.2.1.7",
                "Objects of the system are made or deleted.",
                "models",
                "changes",
                left="Objects of the operating system are its own to log.",
            ),
            asks(
                "10.2.2",
                "Who, what, when, outcome, origin and object of an event.",
                "content",
                left="The origin is the API key, not an address.",
            ),
            asks(
                "10.3",
                "Logs are protected and changes noticed.",
                "tamper-evident",
                "handed-out",
                "feed",
                left="A copy elsewhere is there once an export was taken, or where a "
                "collector is set.",
            ),
            asks(
                "10.4.1.1",
                "Logs are reviewed by automatic means.",
                "feed",
                left="The review is the collector's.",
            ),
            asks(
                "10.5.1",
                "Twelve months, three of them at once at hand.",
                "kept",
                "search",
                left=RETENTION,
            ),
            asks("10.6", "Clocks agree.", "time", left="Set the host's clock."),
            asks(
                "10.7",
                "Failures of controls are found and answered.",
                "fail-closed",
                "room",
                left="Somebody has to watch.",
            ),
        ),
    ),
    "ism": Framework(
        title="Australian Information Security Manual, event logging",
        requirements=(
            asks(
                "ISM-1988",
                "Logs are kept searchable for twelve months.",
                "kept",
                "search",
                left=RETENTION,
            ),
            asks(
                "ISM-1989",
                "Logs are kept as the archives' authority says.",
                "kept",
                left="Name its days in the site certificate; no preset knows them.",
            ),
            asks(
                "Integrity",
                "Logs are protected from change.",
                "tamper-evident",
                "handed-out",
                left=GUARDED,
            ),
            asks(
                "Central",
                "Logs go to a central place at once.",
                "feed",
                left="The collector carries them on.",
            ),
        ),
    ),
    "nist-800-53": Framework(
        title="NIST SP 800-53 revision 5, audit and accountability",
        requirements=(
            asks(
                "AU-2, AU-12",
                "Chosen events are recorded by every part.",
                "catalogue",
                "calls",
                left="The machine that makes bundles keeps no ledger.",
            ),
            asks(
                "AU-3",
                "Type, time, place, source, outcome and identity.",
                "content",
                left="The source is the API key, not an address.",
            ),
            asks(
                "AU-3(3)",
                "Personal data in records is limited.",
                "minimal",
                "withheld",
            ),
            asks(
                "AU-4",
                "There is room for the log.",
                "room",
                left="How much it will take is the site's to plan.",
            ),
            asks(
                "AU-5",
                "Failures of the log are answered; work stops.",
                "fail-closed",
                "room",
                left="Nobody is called: watch /health/ready and /metrics.",
            ),
            asks(
                "AU-6, AU-7",
                "Records are reviewed, searched and counted.",
                "search",
                "in-part",
                "tables",
                "feed",
                left="The review is the site's.",
            ),
            asks(
                "AU-8",
                "Time stamps in UTC.",
                "time",
                left="What sets the clock is the site's.",
            ),
            asks(
                "AU-9",
                "The log is protected, by cryptography too.",
                "tamper-evident",
                "reading",
                "for-one",
                left="Auditor and operator are not told apart by this appliance.",
            ),
            asks(
                "AU-10",
                "Who did what cannot be denied.",
                "identity",
                "changes",
                left="A call is bound to a key, which is a shared secret.",
            ),
            asks(
                "AU-11",
                "Records are kept as long as asked.",
                "kept",
                "held",
                left=RETENTION,
            ),
        ),
    ),
    "nist-800-171": Framework(
        title="NIST SP 800-171 revision 2, 3.3 (CMMC level 2)",
        requirements=(
            asks(
                "3.3.1",
                "Records are made and kept.",
                "catalogue",
                "calls",
                "kept",
                left=RETENTION,
            ),
            asks(
                "3.3.2",
                "Actions are traced to one user.",
                "identity",
                left="Give each user a key of their own.",
            ),
            asks(
                "3.3.3",
                "What is logged is reviewed.",
                left="The catalogue is fixed in each release.",
            ),
            asks(
                "3.3.4",
                "A failure of the log gives an alert.",
                "fail-closed",
                "room",
                left="Watch /health/ready and /metrics.",
            ),
            asks(
                "3.3.5, 3.3.6",
                "Records are correlated, reduced and reported.",
                "search",
                "feed",
                "handed-out",
                "in-part",
                "tables",
            ),
            asks(
                "3.3.7",
                "Clocks agree with an authority.",
                "time",
                left="Set the host's clock.",
            ),
            asks(
                "3.3.8",
                "Records and tools are protected.",
                "tamper-evident",
                left=GUARDED,
            ),
            asks(
                "3.3.9",
                "Few manage the log.",
                left="Whoever holds the account of this host.",
            ),
        ),
    ),
    "soc2": Framework(
        title="SOC 2, common criteria",
        requirements=(
            asks(
                "CC6.1-6.3",
                "Access is given, limited and taken away.",
                "identity",
                "authorisation",
                left="Who holds which key, and the review of that, is the site's.",
            ),
            asks(
                "CC7.2-7.4",
                "Anomalies and incidents are found and answered.",
                "feed",
                "search",
                left="Alarms and answers are the site's.",
            ),
            asks(
                "CC8.1",
                "Changes are approved.",
                "changes",
                left="Approval is the signature in the signing room.",
            ),
        ),
    ),
    "iso-42001": Framework(
        title="ISO/IEC 42001, A.6.2.8",
        requirements=(
            asks(
                "A.6.2.8",
                "Events are logged at least while the system is used.",
                "catalogue",
                "calls",
                "kept",
            ),
        ),
    ),
    "fedramp": Framework(
        title="FedRAMP, AU-11",
        requirements=(
            asks(
                "AU-11",
                "Records are kept at hand, then elsewhere, as long as asked.",
                "kept",
                "handed-out",
                left=RETENTION,
            ),
        ),
    ),
}
"""Standards, by the name that the command line has for them."""
