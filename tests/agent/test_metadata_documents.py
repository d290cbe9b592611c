"""Which document a provider's metadata comes from, with a fake provider."""

import json

import pytest

from auth_agent.oauth.discovery import Metadata
from auth_agent.oauth.http_client import Response
from auth_agent.oauth.metadata_documents import MetadataDocuments
from auth_agent.oauth.outcome import Failure, Misconfigured

pytestmark = pytest.mark.anyio

ISSUER = "https://plain.example"
OPENID, OAUTH = f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/.well-known/oauth-authorization-server"
DOCUMENT = json.dumps({"issuer": ISSUER, "token_endpoint": f"{ISSUER}/token"}).encode()
NOTHING = b'{"message": "no such resource"}'


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def found(responses: dict[str, Response]) -> tuple[Metadata | Failure, bool]:
    async def get(url: str) -> Response | Failure:
        return responses.get(url, Response(404, {}, b""))

    documents = MetadataDocuments(ISSUER, {}, get)
    return await documents.find(), documents.is_provisional


@pytest.mark.parametrize("body", [NOTHING, b"{}", b'{"error": "not_found"}'])
async def test_an_object_that_is_no_metadata_hides_no_other_document(body: bytes) -> None:
    metadata, is_provisional = await found({OPENID: Response(200, {}, body), OAUTH: Response(200, {}, DOCUMENT)})
    assert isinstance(metadata, Metadata)
    assert (metadata.token_endpoint, metadata.is_openid, is_provisional) == (f"{ISSUER}/token", False, False)


async def test_without_a_document_the_object_is_told() -> None:
    failure, _ = await found({OPENID: Response(200, {}, NOTHING), OAUTH: Response(200, {}, NOTHING)})
    assert failure == Misconfigured(f"{OPENID} has neither an issuer nor a token_endpoint", keys=("issuer",))


async def test_another_issuers_document_is_no_reason_to_look_for_another() -> None:
    other = DOCUMENT.replace(b"plain", b"evil")
    failure, _ = await found({OPENID: Response(200, {}, other), OAUTH: Response(200, {}, DOCUMENT)})
    assert isinstance(failure, Misconfigured)
