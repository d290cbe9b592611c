"""A Django site that is a provider by django-oauth-toolkit; DIRECTORY, ISSUER and LIFETIME are in the environment."""

import os
import secrets
from pathlib import Path

_directory = Path(os.environ["DIRECTORY"])

SECRET_KEY = secrets.token_hex()
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.integration.tools.django_site.urls"
LOGIN_URL = "/login/"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _directory / "database"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.admin",  # has the template of a login's page
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "oauth2_provider",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
OAUTH2_PROVIDER = {
    "ACCESS_TOKEN_EXPIRE_SECONDS": int(os.environ["LIFETIME"]),
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": os.environ["ISSUER"],
    "OIDC_RSA_PRIVATE_KEY": (_directory / "key.pem").read_text(),
    "SCOPES": {"openid": "who it is", "profile": "the profile", "email": "the address", "read": "an API"},
}
