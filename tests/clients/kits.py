"""The two official clients, and what differs between them."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anthropic
import openai

from proxy.testing import providers
from proxy.testing.request import Seen
from proxy.testing.script import Answer

QUESTION: dict[str, Any] = {
    "model": "scripted",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "What is it that waits, and how long?"}],
}


@dataclass(frozen=True)
class Kit:
    """What differs between the two providers' clients."""

    module: ModuleType
    base: str
    request_id: str
    fault: Callable[..., Answer]
    answer: Callable[[Seen], Answer]
    raises: type[Exception]
    """What a client raises on an error event."""

    @property
    def name(self) -> str:
        return self.module.__name__

    def told(self, error: Any) -> tuple[str, str]:
        """Give our code and message, as an exception that was raised in a stream carries them."""
        said = error.body if self.module is openai else error.body["error"]
        return said["type"], said["message"]

    def resource(self, client: Any) -> Any:
        return client.chat.completions if self.module is openai else client.messages


KITS = [
    Kit(
        openai,
        "/v1",
        "x-request-id",
        providers.openai_error,
        providers.chat_completion,
        openai.APIError,
    ),
    Kit(
        anthropic,
        "",
        "request-id",
        providers.anthropic_error,
        providers.message,
        anthropic.APIStatusError,
    ),
]

Reach = Callable[..., Any]
