"""The wire to a teacher: one chat request of OpenAI's HTTP interface, tried again with growing pauses.

What the interface is: POST URL/chat/completions with model and messages, answered by choices[0].message.content
(https://platform.openai.com/docs/api-reference/chat); vLLM, SGLang, llama.cpp and others speak it.
"""

from __future__ import annotations

import os
import time
from typing import Any

import httpx

from vst_vla.envs.qa.teacher import Teacher
from vst_vla.envs.qa.teacher_reply import NO_REPLY, TIMED_OUT

_TRY_AGAIN = (408, 429)  # and every 5xx
_LONGEST_PAUSE_S = 30.0
_REACH_S = 10.0


class Unanswered(Exception):
    """No reply after all tries; `kind` says why, as `teacher_reply` names it."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class Endpoint:
    """Asks a teacher; several threads may use it at once."""

    def __init__(self, teacher: Teacher) -> None:
        self._teacher = teacher
        key = os.environ.get(teacher.api_key_variable, "").strip()
        self._client = httpx.Client(
            timeout=teacher.timeout_s, headers={"Authorization": f"Bearer {key}"} if key else None
        )

    def reach(self) -> None:
        """Raises ConnectionError unless something answers at the teacher's address, whatever it says."""
        try:
            self._send("GET", self._teacher.url, timeout=min(self._teacher.timeout_s, _REACH_S))
        except Unanswered:
            return  # it was reached; a chat address need not answer this request

    def ask(self, messages: list[dict[str, Any]]) -> str:
        """The reply's text; empty when the body is not what the interface promises.

        Raises:
            Unanswered: timeouts or server errors, the last try included.
            OSError: no connection, the last try included.
            ValueError: the server refuses the request.
        """
        pause = self._teacher.backoff_s
        for _ in range(self._teacher.retries):
            try:
                return self._once(messages)
            except (Unanswered, ConnectionError):
                time.sleep(min(pause, _LONGEST_PAUSE_S))
                pause *= 2
        return self._once(messages)

    def _once(self, messages: list[dict[str, Any]]) -> str:
        teacher = self._teacher
        body = {
            "model": teacher.model,
            "messages": messages,
            "max_tokens": teacher.max_tokens,
            "temperature": teacher.temperature,
        }
        url = f"{teacher.url.rstrip('/')}/chat/completions"
        return _text(self._send("POST", url, json=body), teacher)

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            return self._client.request(method, url, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ConnectionError(
                f"no teacher answers at {self._teacher.url} ({error}): start it, or mend teacher.url, and run the same "
                "command again"
            ) from error
        except httpx.TimeoutException as error:
            raise Unanswered(TIMED_OUT) from error
        except httpx.TransportError as error:
            raise Unanswered(NO_REPLY) from error


def _text(response: httpx.Response, teacher: Teacher) -> str:
    if response.status_code in _TRY_AGAIN or response.status_code >= 500:
        raise Unanswered(NO_REPLY)
    if response.status_code != 200:
        reason = " ".join(response.text[:200].split())
        raise ValueError(
            f"the teacher at {teacher.url} refuses (HTTP {response.status_code} {reason}): check teacher.url, "
            f"teacher.model and the key in {teacher.api_key_variable}"
        )
    return _content(response)


def _content(response: httpx.Response) -> str:
    """The message's text, reasoning that a server returns beside it put in its tags; empty for another body."""
    try:
        message = response.json()["choices"][0]["message"]
        content, reasoning = message["content"], message.get("reasoning_content")
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    if not isinstance(content, str):
        return ""
    return f"<think>{reasoning}</think>{content}" if isinstance(reasoning, str) and reasoning else content
