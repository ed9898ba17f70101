"""Many processes on PostgreSQL and Redis. Every value that matters must be set, or the start stops."""

from urllib.parse import unquote, urlsplit

from .base import *  # noqa: F403
from .base import INSTALLED_APPS as ALL_APPS
from .base import LOG_LEVEL, env

INSTALLED_APPS = [app for app in ALL_APPS if app != "daphne"]  # for runserver's sake: 22 MB of a web process

SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", [f"https://{host}" for host in ALLOWED_HOSTS])

_database = urlsplit(env.url("DATABASE_URL", ("postgres", "postgresql")))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(_database.path.lstrip("/")),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "HOST": _database.hostname or "",
        "PORT": str(_database.port or ""),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": env.integer("DATABASE_POOL", 10, low=1, high=500)}},
    }
}
REDIS_URL = env.url("REDIS_URL", ("redis", "rediss", "unix"))
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}
CHATAPP_LIMITS_STORAGE = REDIS_URL
CHATAPP_REDIS_URL = env.url("CHATAPP_REDIS_URL", ("redis", "rediss", "unix"), REDIS_URL)
METRICS_TOKEN = env.text("METRICS_TOKEN")
CELERY_BROKER_URL = REDIS_URL

SECURE_SSL_REDIRECT = env.boolean("SECURE_SSL_REDIRECT", True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_HSTS_SECONDS = env.integer("SECURE_HSTS_SECONDS", 31_536_000, high=10**9)
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True

_mail = urlsplit(env.url("EMAIL_URL", ("smtp", "smtps"), "smtp://localhost:25"))
EMAIL_HOST, EMAIL_PORT = _mail.hostname or "localhost", _mail.port or 25
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_mail.username or ""), unquote(_mail.password or "")
EMAIL_USE_SSL = _mail.scheme == "smtps"
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", f"chatapp@{ALLOWED_HOSTS[0]}")
ACCOUNT_EMAIL_VERIFICATION = env.choice("EMAIL_VERIFICATION", ("mandatory", "optional", "none"), "mandatory")

LOGGING = {"level": LOG_LEVEL, "json": True}
