"""Whether a provider's token is valid, as those find out who exchange it for a token of their own."""

import time
from collections.abc import Callable

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.op.provider import OpenIDProvider


def token_check(provider: OpenIDProvider, client_id: str = "native-app") -> Callable[[str], bool]:
    """Return what says of a token whether it is a valid ID token of that client, or a valid access token."""
    metadata = httpx.get(f"{provider.issuer.rstrip('/')}/.well-known/openid-configuration").json()
    keys = KeySet.import_key_set(httpx.get(metadata["jwks_uri"]).json())

    def is_valid(token: str) -> bool:
        try:
            claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return provider.userinfo(token).is_success
        return (claims["iss"], claims["aud"]) == (provider.issuer, client_id) and claims["exp"] > time.time()

    return is_valid
