"""What a client is told when its request cannot be answered, in the form that OpenAI's clients read."""

from __future__ import annotations

from math import ceil
from typing import Any

NO_QUOTA = "insufficient_quota"
"""The code of an account, or a key, that has nothing left to spend."""
OVERLOADED = "overloaded"
"""The code where there is no room now, whoever asks."""
KEY_SHARE = "key_share"
"""The code where there is no room now for one key, which holds its share."""
STREAM_TIMEOUT = "stream_timeout"
"""The code of a stream that took too long."""
RATE_LIMIT = "rate_limit_exceeded"
"""The code of a key that asks too often."""
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
}


class APIError(Exception):  # it reads as what happened to the request
    """A request that ends here; its text is one sentence for the person behind the client."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: float | None = None,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after
        """Seconds after which the same request may succeed."""
        self.may_be_billed = may_be_billed
        """Whether an upstream may have worked for it all the same."""

    def body(self) -> dict[str, Any]:
        """As OpenAI's API has it."""
        kind = _TYPES.get(self.status, "api_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """What goes out beside it."""
        found = {} if self.retry_after is None else {"retry-after": str(max(1, ceil(self.retry_after)))}
        # OpenAI's clients try every 429 again, an empty account too, unless they are told not to.
        return found | ({"x-should-retry": "false"} if self.code == NO_QUOTA else {})
