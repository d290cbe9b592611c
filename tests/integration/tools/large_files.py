"""A store of large files by git-lfs's API: batches, and the basic transfer of each object."""

import json
import re
from typing import Any, Final

_BATCH: Final = "/info/lfs/objects/batch"
_OBJECT: Final = re.compile(r".*/info/lfs/objects/([0-9a-f]{64})")
TYPE: Final = "application/vnd.git-lfs+json"


class LargeFiles:
    """Keeps objects by their SHA-256."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def respond(self, method: str, url: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body for a request to that URL."""
        if method == "POST" and url.endswith(_BATCH):
            return 200, json.dumps(self._batch(url.removesuffix("/batch"), json.loads(body))).encode()
        match = _OBJECT.fullmatch(url)
        if match is None:
            return 404, b"{}"
        if method == "PUT":
            self.objects[match[1]] = body
        return 200, self.objects[match[1]] if method == "GET" else b""

    def _batch(self, url: str, request: dict[str, Any]) -> dict[str, object]:
        """Return where each object is to be sent to, or fetched from."""
        action = request["operation"]
        objects = [{**one, "actions": {action: {"href": f"{url}/{one['oid']}"}}} for one in request["objects"]]
        return {"transfer": "basic", "objects": objects}
