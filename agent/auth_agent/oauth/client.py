"""Who asks a provider, and how it proves that: client authentication (RFC 6749, section 2.3), without I/O."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from auth_agent.secret import Secret

# As they are registered: OpenID Connect Core 1.0, section 9.
BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a provider; without a `secret` it is a public one.

    `method` is how it authenticates, where the configuration says so; otherwise the provider's metadata does.
    """

    client_id: str
    secret: Secret | None = None
    method: str | None = None

    def authenticate(
        self, form: Mapping[str, str], supported: Collection[str] | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The headers and the form of a request that this client makes.

        Args:
            form: what is asked.
            supported: the provider's `token_endpoint_auth_methods_supported`; None where it names none, which means
                Basic (OpenID Connect Discovery 1.0, section 3).

        """
        if self.secret is None or self.method == NONE:
            return {}, {**form, "client_id": self.client_id}
        method = self.method
        if method is None:
            method = POST if supported is not None and POST in supported and BASIC not in supported else BASIC
        if method == POST:
            return {}, {**form, "client_id": self.client_id, "client_secret": self.secret.reveal()}
        # Each half as a form has it (RFC 6749, section 2.3.1): a colon in one must not look like the one between them.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret.reveal())}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, dict(form)
