"""Tests: the production parts (PostgreSQL, Redis) where they matter, quick where they do not.

``tests/services.py`` starts both servers on free ports and sets the two addresses.
"""

from .base import *  # noqa: F403
from .base import BASE_DIR, env
from .services import DATABASE, read_database

SECRET_KEY = "tests-only"  # noqa: S105
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]

DATABASES = {"default": env.parsed("DATABASE_URL", read_database, DATABASE)}
REDIS_URL = env.url("REDIS_URL", ("redis",))
CACHES = {
    "default": {
        "BACKEND": "chatapp.queue.redis_cache.SteadyCache",
        "LOCATION": REDIS_URL,
        "OPTIONS": {"socket_connect_timeout": 1.0, "socket_timeout": 2.0},
    }
}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
CHATAPP_LIMITS_STORAGE = REDIS_URL
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_ALWAYS_EAGER = True
CELERY_TASK_EAGER_PROPAGATES = True

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = {}  # type: ignore[assignment]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
STATIC_ROOT = BASE_DIR / "var" / "test-static"
LOGGING = {"level": "WARNING", "json": False}
WHITENOISE_AUTOREFRESH = True
