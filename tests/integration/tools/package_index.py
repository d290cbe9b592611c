"""An index of Python packages (PEP 503) that takes the provider's access tokens alone, as a user's password."""

import base64
import hashlib
import io
import re
import zipfile

from tests.integration.tools.token_server import BASIC, NOT_FOUND, Request, Response, TokenServer
from tests.op.provider import OpenIDProvider


def wheel(name: str) -> bytes:
    """Return a wheel of version 1.0."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            file.writestr(path, text)
    return archive.getvalue()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


class PackageIndex(TokenServer):
    """Has the packages at `/acme/simple/`, and takes others at `/acme/`."""

    def __init__(self, provider: OpenIDProvider, *names: str) -> None:
        super().__init__(provider, BASIC)
        self._wheels = {name: wheel(name) for name in names}
        self.uploaded: list[str] = []

    @property
    def simple(self) -> str:
        """The URL of the index."""
        return f"{self.url}/acme/simple/"

    @property
    def upload(self) -> str:
        """The URL for uploads."""
        return f"{self.url}/acme/"

    def respond(self, request: Request) -> Response:
        """Return a package's page, or its wheel, or take one."""
        if request.method == "POST":
            self.uploaded += re.findall(r'filename="([^"]+)"', request.body.decode("latin-1"))
            return Response(b"ok")
        name, _, file = request.path.removeprefix("/acme/simple/").partition("/")
        if name not in self._wheels:
            return NOT_FOUND
        if file:
            return Response(self._wheels[name])
        link = f"{name}-1.0-py3-none-any.whl"
        digest = hashlib.sha256(self._wheels[name]).hexdigest()
        page = f'<!DOCTYPE html><html><body><a href="{link}#sha256={digest}">{link}</a></body></html>'
        return Response(page.encode(), headers={"Content-Type": "text/html"})
