"""Client authentication (RFC 6749, section 2.3), without I/O."""

import base64
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_plus

from auth_agent.secret import Secret

# The registered names of the methods: OpenID Connect Core 1.0, section 9.
BASIC: Final = "client_secret_basic"
POST: Final = "client_secret_post"
NONE: Final = "none"
# RFC 8705, section 2: the TLS connection authenticates the client, so the form has its id alone.
CERTIFICATE_METHODS: Final = ("tls_client_auth", "self_signed_tls_client_auth")
# The methods of a client that has no secret to send.
SECRETLESS: Final = (NONE, *CERTIFICATE_METHODS)


@dataclass(frozen=True, slots=True)
class Client:
    """A client of a provider; a public one if it has no `secret`.

    `method` is the configured authentication method; None: choose one by the provider's metadata.
    """

    client_id: str
    secret: Secret | None = None
    method: str | None = None

    def methods(self, supported: Collection[str] | None) -> tuple[str, ...]:
        """Return the methods by which a login may authenticate, the best one first.

        Some providers accept only the method that was registered for the client, of those that their metadata offers.
        If that has none, any may do.
        """
        if self.secret is None or self.method is not None:
            return (NONE if self.method is None else self.method,)
        offered = tuple(name for name in (BASIC, POST) if supported is None or name in supported)
        return offered or (BASIC,)

    def authenticate(
        self, form: Mapping[str, str], supported: Collection[str] | None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return the headers and the form of a request by this client.

        Args:
            form: the parameters of the request.
            supported: the provider's `token_endpoint_auth_methods_supported`; None if that is missing, which means
                Basic (OpenID Connect Discovery 1.0, section 3).

        """
        if self.secret is None or self.method in SECRETLESS:
            return {}, {**form, "client_id": self.client_id}
        if self.methods(supported)[0] == POST:
            return {}, {**form, "client_id": self.client_id, "client_secret": self.secret.reveal()}
        # Each half is form-encoded (RFC 6749, section 2.3.1), so that a colon in one is not taken for the separator.
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret.reveal())}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, dict(form)
