"""What a loaded model does: it writes text, or it makes vectors.

The file says so itself. One that pools makes a vector of a whole text, whatever its
architecture; one that pools nothing and reads from left to right writes text. All
others would abort the process at the first request, so they are refused at load.

Source: llama.h of the llama.cpp inside llama-cpp-python 0.3.36.
"""

import llama_cpp.llama_cpp as native

from appliance.engine.llama.model import Model
from appliance.errors import EngineUnavailableError

_ONE_VECTOR = {
    native.LLAMA_POOLING_TYPE_MEAN,
    native.LLAMA_POOLING_TYPE_CLS,
    native.LLAMA_POOLING_TYPE_LAST,
}
"""Ways of pooling that make one vector of a text."""


def makes_vectors(model: Model) -> bool:
    """Return whether ``model`` makes vectors; if not, it writes text.

    Raises:
        EngineUnavailableError: It does something else.
    """
    architecture = model.metadata("general.architecture")
    pooling = model.metadata(f"{architecture}.pooling_type")
    if pooling not in ("", str(native.LLAMA_POOLING_TYPE_NONE)):
        if pooling in map(str, _ONE_VECTOR):
            return True
        raise EngineUnavailableError("this model ranks texts, which is not served")
    if (
        native.llama_model_has_encoder(model.handle)
        or native.llama_model_is_diffusion(model.handle)
        or model.metadata(f"{architecture}.attention.causal") == "false"
    ):
        raise EngineUnavailableError(
            "this model neither writes text from left to right nor says how to pool"
        )
    return False
