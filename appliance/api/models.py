"""``GET /v1/models`` and ``GET /v1/models/{id}``: what is active on this host."""

import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from appliance.api.credential import bearer_credential
from appliance.api.errors import error_response
from appliance.errors import ModelNotFoundError
from appliance.request_steps.parts import Host, HostView, ServedModel
from bundleformat.errors import Error


class Models:
    """The two endpoints; both want a valid key."""

    def __init__(self, *, host: Host) -> None:
        self._host = host

    async def list_models(self, request: Request) -> Response:
        """Answer with every active model, by name."""
        try:
            view = self._view(request)
        except Error as error:
            return _refuse(error)
        data = [model_object(view.models[name]) for name in sorted(view.models)]
        return JSONResponse({"object": "list", "data": data})

    async def get_model(self, request: Request) -> Response:
        """Answer with one active model."""
        try:
            model = self._view(request).models.get(request.path_params["model"])
            if model is None:
                raise ModelNotFoundError(
                    "the model does not exist on this host or is not active",
                    param="model",
                )
        except Error as error:
            return _refuse(error)
        return JSONResponse(model_object(model))

    def _view(self, request: Request) -> HostView:
        self._host.identify(bearer_credential(request.headers))
        return self._host.view()


def model_object(model: ServedModel) -> dict[str, Any]:
    """Return OpenAI's model object; ``owned_by`` is the model's signed origin."""
    return {
        "id": model.facts.name,
        "object": "model",
        "created": model.activated_s,
        "owned_by": model.facts.origin,
    }


def _refuse(error: Error) -> Response:
    return error_response(error, request_id=f"req-{uuid.uuid4().hex}")
