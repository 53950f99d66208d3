"""The chat completions language at Azure OpenAI, with its deployments in the path.

    [endpoints.azure]
    url = "https://NAME.openai.azure.com/openai"
    dialect = "azure-openai"
    query = { api-version = "2024-10-21" }

Its newer path, `/openai/v1`, is plain `openai-chat` with `auth = "api-key"`.
"""

from typing import TYPE_CHECKING
from urllib.parse import quote

from streamnursery.wire.openai_chat.client import OpenAIChat

if TYPE_CHECKING:
    from streamnursery.values.request import ChatRequest
    from streamnursery.values.settings import Auth


class AzureOpenAI(OpenAIChat):
    """The `Dialect`. The model's name on the wire is that of a deployment."""

    name = "azure-openai"
    auth: "Auth" = "api-key"

    def path(self, _request: "ChatRequest", model: str, /) -> str:
        return f"/deployments/{quote(model, safe='')}/chat/completions"
