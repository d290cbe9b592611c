"""Which algorithm signs a client's ID tokens, without I/O: OpenID Connect Core 1.0, section 3.1.3.7, items 7 and 8."""

from collections.abc import Collection

from auth_agent.signing_algorithms import MAC_LENGTHS


def mac_algorithm(configured: str | None, supported: Collection[str] | None) -> str | None:
    """Return the algorithm if the client's secret signs its ID tokens; None: a key of the provider's does.

    Not every client's secret is one (RFC 8252, section 8.5), so a MAC counts only where the account says so, or where
    the provider can't sign otherwise.

    Args:
        configured: the account's `id_token_signed_response_alg`.
        supported: the provider's `id_token_signing_alg_values_supported`; None if it is missing.

    """
    if configured is not None:
        return configured if configured in MAC_LENGTHS else None
    macs = [algorithm for algorithm in supported or () if algorithm in MAC_LENGTHS]
    if any(algorithm not in MAC_LENGTHS and algorithm != "none" for algorithm in supported or ()):
        return None
    return min(macs, default=None)
