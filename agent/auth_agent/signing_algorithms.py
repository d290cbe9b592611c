"""The algorithms that sign ID tokens (RFC 7518, section 3.1), and what each is checked with."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# The type of the key, one of the provider's.
KEY_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
        **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
        "EdDSA": "OKP",
    }
)
# The bytes of the hash: the client's secret should not be shorter (section 3.2).
MAC_LENGTHS: Final[Mapping[str, int]] = MappingProxyType({"HS256": 32, "HS384": 48, "HS512": 64})
SIGNING_ALGORITHMS: Final = (*KEY_TYPES, *MAC_LENGTHS)
