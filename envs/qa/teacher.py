"""A teacher: a large model behind an OpenAI-compatible endpoint that writes the thoughts of reasoning items.

It is shown the pictures, the bird's-eye view and the objects' places, as VST's was (arXiv 2511.05491).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import urlsplit

_COUNTS = {"retries": 0, "parallel": 1, "max_tokens": 1}  # least values


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """Which model is asked, and how patiently. The key is never stored: workers read it from their environment.

    Args:
        url: the endpoint up to the version, such as http://localhost:8000/v1.
        model: what the endpoint calls the model.
        api_key_variable: environment variable that holds the key; no key is sent when it is not set.
        timeout_s: seconds for one reply.
        retries: further tries after a timeout, a lost connection or a server's error (HTTP 408, 429, 5xx).
        backoff_s: pause before the first further try; it doubles each time.
        parallel: questions asked at the same time by one worker.
        max_tokens: longest reply.
        temperature: of the model's sampling.

    Raises:
        ValueError: no web address, no model, or a number out of range.
    """

    url: str
    model: str
    api_key_variable: str = "VST_VLA_TEACHER_KEY"
    timeout_s: float = 120.0
    retries: int = 3
    backoff_s: float = 1.0
    parallel: int = 4
    max_tokens: int = 1024
    temperature: float = 0.7

    def __post_init__(self) -> None:
        address = urlsplit(str(self.url))
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"teacher.url '{self.url}' is no web address: give one such as http://localhost:8000/v1")
        if not self.model:
            raise ValueError(f"teacher.model is empty: give the name under which {self.url} serves the model")
        lows = {"timeout_s": 0.001, "backoff_s": 0, "temperature": 0} | _COUNTS
        for name, low in lows.items():
            value = getattr(self, name)
            if not isinstance(value, int if name in _COUNTS else int | float) or not low <= value < math.inf:
                noun = "whole number" if name in _COUNTS else "number"
                raise ValueError(f"teacher.{name} {value} is out of range: give a {noun} of at least {low}")
