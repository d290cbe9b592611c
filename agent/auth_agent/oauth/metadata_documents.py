"""The documents with a provider's metadata, over HTTP: OpenID Connect's, or else RFC 8414's, or none.

OpenID Connect's document is the truth where it can be read. RFC 8414's is requested where there is no other, and for
what the other one lacks, once that is needed: a refresh never waits for it. A document that can't be fetched just now
is not a missing one.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from auth_agent.oauth.discovery import (
    DiscoveryError,
    Metadata,
    NoMetadataError,
    UnreadableMetadataError,
    configured_metadata,
    has_gaps,
    metadata_url,
    oauth_metadata_urls,
    parse_metadata,
    without_gaps,
)
from auth_agent.oauth.http_client import Response
from auth_agent.oauth.outcome import Busy, Failure, Misconfigured, Transient, Unsent
from auth_agent.oauth.requests import retry_after

_ABSENT: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.NOT_IMPLEMENTED)
# The provider may answer otherwise in a moment.
_PASSING: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
# Redirects, which are not followed, and refusals: some providers answer so whatever they do not have.
_ELSEWHERE: Final = range(300, 500)


class _Unread(NamedTuple):
    """Something else was answered in place of a document, such as a page."""

    failure: Failure


class MetadataDocuments:
    """The documents of one issuer; `endpoints` are those of the configuration, by their names in the metadata."""

    def __init__(
        self,
        issuer: str,
        endpoints: Mapping[str, str],
        get: Callable[[str], Awaitable[Response | Failure]],
    ) -> None:
        """Create them; `get` sends a request for that URL."""
        self._issuer = issuer
        self._endpoints: dict[str, Any] = dict(endpoints)
        self._get = get
        # The metadata that is complete: a request for what it lacks would bring nothing.
        self._complete: Metadata | None = None
        # Whether something else stood in the place of a better document, which may be back soon.
        self.is_provisional = False

    async def find(self) -> Metadata | Failure:
        """Return the metadata of the first document that there is, or why there is none.

        An endpoint of the configuration comes before that of a document. With the token endpoint, no document is
        requested.
        """
        metadata = configured_metadata(self._issuer, self._endpoints)
        if metadata is not None:
            self._complete = metadata
            return metadata
        urls = (metadata_url(self._issuer), *oauth_metadata_urls(self._issuer))
        unread: _Unread | None = None
        for url in urls:
            found = await self._read(url)
            if isinstance(found, Failure):
                return found
            if isinstance(found, Metadata):
                metadata = replace(found, **self._endpoints)
                self.is_provisional = unread is not None and isinstance(unread.failure, Transient)
                if url != urls[0]:
                    self._complete = metadata
                return metadata
            unread = unread or found
        if unread is not None:
            return unread.failure
        keys = ("issuer", "authorization_endpoint", "token_endpoint")  # a provider without a document has these by hand
        return Misconfigured(f"{urls[0]} is not found, and neither is {urls[1]}", keys=keys)

    async def completed(self, metadata: Metadata) -> Metadata | Failure:
        """Return the metadata with what only RFC 8414's document has; or why that can't be told now."""
        if metadata is self._complete or not has_gaps(metadata):
            return metadata
        for url in oauth_metadata_urls(self._issuer):
            response = await self._get(url)
            if isinstance(response, Failure):
                return response
            if response.status == HTTPStatus.OK:
                complete = without_gaps(metadata, response.body, url)
                if complete is not None:
                    self._complete = complete
                    return complete
            elif _is_passing(response.status):
                return _busy(url, response)
        self._complete = metadata
        return metadata

    async def _read(self, url: str) -> Metadata | Failure | _Unread | None:
        """Return the document at that URL; None if it is not there, so that another one may be."""
        response = await self._get(url)
        if isinstance(response, Misconfigured):
            return response
        if isinstance(response, Failure):
            # The token request was not sent.
            return response if isinstance(response, Unsent) else Unsent(response.reason)
        if response.status in _ABSENT:
            return None
        if response.status != HTTPStatus.OK:
            busy = _busy(url, response)
            return busy if _is_passing(response.status) else _Unread(busy)
        try:
            return parse_metadata(self._issuer, response.body, url)
        except NoMetadataError as error:
            return _Unread(Misconfigured(str(error), keys=("issuer",)))
        except UnreadableMetadataError as error:
            return _Unread(Unsent(str(error)))  # a captive portal's page, more often than a wrong issuer
        except DiscoveryError as error:
            return Misconfigured(str(error), keys=("issuer",))


def _is_passing(status: int) -> bool:
    """Whether the provider may answer otherwise in a moment; else it does not have the document."""
    return status in _PASSING or status not in _ELSEWHERE


def _busy(url: str, response: Response) -> Busy:
    return Busy(f"{url} answered HTTP {response.status}", retry_after(response.headers, time.time()))
