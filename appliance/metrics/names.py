"""How metrics are called, and the steps of their histograms.

The names and the steps are vLLM's under our own prefix, so that boards made for
it need one word changed. Source: vLLM, "Production Metrics".
"""

PREFIX = "sallyport:"
"""What every name begins with."""

MODEL = "model_name"
"""The one label that tells engines and requests apart: no team, no text."""

FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Steps of the time to the first token. Unit: seconds."""

TOKEN_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""Steps of the time between two tokens. Unit: seconds."""

REQUEST_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0),
    *(50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
"""Steps of the parts of a request's time. Unit: seconds."""

TOKENS = tuple(float(step * 10**power) for power in range(6) for step in (1, 2, 5))
"""Steps of the tokens of a request: 1, 2, 5, 10 and so on."""

COMMIT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
"""Steps of the time in which a record becomes durable. Unit: seconds."""
