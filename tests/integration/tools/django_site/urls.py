"""The site's pages."""

import os
from importlib import import_module
from urllib.parse import urlsplit

# By name, since the type checkers run where Django isn't installed.
_admin = import_module("django.contrib.admin")
_urls = import_module("django.urls")

urlpatterns = [
    _urls.path("login/", _admin.site.login),
    _urls.path("admin/", _admin.site.urls),
    _urls.path(urlsplit(os.environ["ISSUER"]).path.removeprefix("/") + "/", _urls.include("oauth2_provider.urls")),
]
