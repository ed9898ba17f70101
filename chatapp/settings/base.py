"""What every way of running the product shares."""

from csp.constants import NONCE, SELF
from django.templatetags.static import static
from django.urls import reverse_lazy

from .environment import BASE_DIR, env

SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS", [])
VAR_DIR = env.path("CHATAPP_VAR", BASE_DIR / "var")
DEBUG = False

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "unfold.contrib.filters",
    "accounts",  # before Django's own: its createsuperuser takes the place of theirs
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "allauth",
    "accounts.apps.AddressesConfig",
    "allauth.mfa",
    "allauth.usersessions",
    "chatapp.queue",
    "chatapp.chat",
    "feedback",
    "chatapp.web",
    "chatapp.ops",
    "chatapp.serve",
]

MIDDLEWARE = [
    "chatapp.ops.middleware.answer_probes",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "chatapp.common.request_log.request_log",
    "csp.middleware.CSPMiddleware",
    "chatapp.web.middleware.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "chatapp.web.middleware.LastSeenMiddleware",
    "chatapp.web.middleware.BrowserZoneMiddleware",
    "chatapp.web.middleware.AuditOriginMiddleware",
    "chatapp.web.middleware.TenantScopeMiddleware",
]

ROOT_URLCONF = "chatapp.urls"
ASGI_APPLICATION = "chatapp.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chatapp.web.context_processors.interface",
            ],
        },
    }
]

# Accounts
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"signup": "accounts.forms.SignupForm", "login": "accounts.forms.LoginForm"}
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "20/m/ip,5/5m/key",
    "signup": "30/m/ip",
}
# A second factor. Who may log in has proven the address where the server asks for it (ACCOUNT_EMAIL_VERIFICATION).
MFA_ADAPTER = "accounts.second_factor.SecondFactorAdapter"
MFA_FORMS = {
    "add_webauthn": "accounts.passkey_forms.AddPasskeyForm",
    "edit_webauthn": "accounts.passkey_forms.RenamePasskeyForm",
    "authenticate_webauthn": "accounts.passkey_forms.PasskeyForm",
    "login_webauthn": "accounts.passkey_forms.PasskeyLoginForm",
    "reauthenticate_webauthn": "accounts.passkey_forms.PasskeyAgainForm",
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_RATE_LIMITS = {"webauthn_login": "120/m/ip"}  # a login is two requests
MFA_TOTP_TOLERANCE = 1  # steps of 30 s: clocks differ, and people type
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"

# Database rows
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ATOMIC_REQUESTS = False

# Language and time
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

# Static files
STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "chatapp.web.staticfiles.ModuleManifestStorage"},
}

# Security: nothing inline from the first page on
CONTENT_SECURITY_POLICY = {
    "EXCLUDE_URL_PREFIXES": ["/admin/", "/api/v1/docs/"],
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "font-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    },
}
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "chatapp.web.error_responses.csrf_failure"
SESSION_ENGINE = "chatapp.web.sessions"
SESSION_COOKIE_SAMESITE = "Lax"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["chatapp.web.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["chatapp.web.drf.JSONParser"],
    "DEFAULT_METADATA_CLASS": None,  # nobody asks for OPTIONS; the schema tells more
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "chatapp.web.drf.exception_handler",
    "DATETIME_FORMAT": "iso-8601",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "chatapp",
    "DESCRIPTION": "The API behind the chat page. Errors have one shape: {error: {code, message, …}}.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "ENUM_NAME_OVERRIDES": {
        "Role": "accounts.models.people.Role.choices",
        "JoiningRole": "chatapp.web.invitations_api.JOINING",
    },
}

UNFOLD = {
    "SITE_TITLE": "chatapp admin",
    "SITE_HEADER": "chatapp",
    "SITE_SYMBOL": "forum",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "8px",
    "STYLES": [lambda request: static("css/admin.css")],
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            {
                "title": "People",
                "items": [
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:accounts_user_changelist"),
                    },
                    {
                        "title": "Workspaces",
                        "icon": "apartment",
                        "link": reverse_lazy("admin:accounts_tenant_changelist"),
                    },
                    {
                        "title": "Members",
                        "icon": "group",
                        "link": reverse_lazy("admin:accounts_membership_changelist"),
                    },
                    {
                        "title": "Invitations",
                        "icon": "outgoing_mail",
                        "link": reverse_lazy("admin:accounts_invitation_changelist"),
                    },
                    {
                        "title": "Invite links",
                        "icon": "link",
                        "link": reverse_lazy("admin:accounts_invitelink_changelist"),
                    },
                    {
                        "title": "Domains",
                        "icon": "domain",
                        "link": reverse_lazy("admin:accounts_domain_changelist"),
                    },
                    {
                        "title": "Audit log",
                        "icon": "history",
                        "link": reverse_lazy("admin:accounts_auditevent_changelist"),
                    },
                    {
                        "title": "Email addresses",
                        "icon": "mail",
                        "link": reverse_lazy("admin:account_emailaddress_changelist"),
                    },
                    {
                        "title": "API keys",
                        "icon": "key",
                        "link": reverse_lazy("admin:accounts_apikey_changelist"),
                    },
                ],
            },
            {
                "title": "Models",
                "items": [
                    {
                        "title": "Models on offer",
                        "icon": "memory",
                        "link": reverse_lazy("admin:queue_offeredmodel_changelist"),
                    },
                ],
            },
            {
                "title": "Plans and usage",
                "items": [
                    {
                        "title": "Plans",
                        "icon": "sell",
                        "link": reverse_lazy("admin:accounts_plan_changelist"),
                    },
                    {
                        "title": "Usage by day",
                        "icon": "bar_chart",
                        "link": reverse_lazy("admin:accounts_usageday_changelist"),
                    },
                    {
                        "title": "Ledger",
                        "icon": "receipt_long",
                        "link": reverse_lazy("admin:accounts_ledgerentry_changelist"),
                    },
                ],
            },
            {
                "title": "Chat",
                "items": [
                    {
                        "title": "Conversations",
                        "icon": "forum",
                        "link": reverse_lazy("admin:chat_conversation_changelist"),
                    },
                    {
                        "title": "Generations",
                        "icon": "bolt",
                        "link": reverse_lazy("admin:chat_generation_changelist"),
                    },
                ],
            },
            {
                "title": "Feedback",
                "items": [
                    {
                        "title": "Ratings",
                        "icon": "thumb_up",
                        "link": reverse_lazy("admin:feedback_rating_changelist"),
                    },
                    {
                        "title": "Daily roll-ups",
                        "icon": "table_chart",
                        "link": reverse_lazy("admin:feedback_dailyrating_changelist"),
                    },
                ],
            },
        ],
    },
}

# Background work
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # however long Redis is away; else it ends after an hour
CELERY_BROKER_CHANNEL_ERROR_RETRY = True  # nor when it refuses: a replica, no memory
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
PURGE_SECONDS = 86_400.0
# What comes by itself has a queue of its own, and a worker with a thread for each: nothing that people cause delays it.
CELERY_BEAT_SCHEDULE = {
    "stop-unwanted": {"task": "chat.stop", "schedule": 3.0, "options": {"expires": 3}},
    "erase": {"task": "chat.erase", "schedule": 10.0, "options": {"expires": 9}},
    "sweep-generations": {"task": "chat.sweep", "schedule": 10.0, "options": {"expires": 9}},
    "roll-up-ratings": {"task": "feedback.roll_up", "schedule": 60.0, "options": {"expires": 55}},
    "purge-conversations": {"task": "chat.purge", "schedule": PURGE_SECONDS, "options": {"expires": 3_600}},
    "purge-workspaces": {"task": "accounts.purge", "schedule": PURGE_SECONDS, "options": {"expires": 3_600}},
}
CELERY_TASK_ROUTES = {entry["task"]: {"queue": "periodic"} for entry in CELERY_BEAT_SCHEDULE.values()}

# The product
CHATAPP_BRAND = "chatapp"
# Where people reach it: links in mails begin with it.
CHATAPP_BASE_URL = env.text("CHATAPP_BASE_URL", f"http://localhost:{env.integer('PORT', 8000, low=0)}").rstrip("/")
CHATAPP_SIGNUP = env.choice("CHATAPP_SIGNUP", ("open", "invited", "closed"), "open")
CHATAPP_WORKSPACES_PER_PERSON = env.integer("CHATAPP_WORKSPACES_PER_PERSON", 3, low=0, high=10_000)
CHATAPP_WORKSPACE_GRACE_DAYS = env.integer("CHATAPP_WORKSPACE_GRACE_DAYS", 30, low=1, high=3_650)
CHATAPP_DEFAULT_PLAN = env.text("CHATAPP_DEFAULT_PLAN", "free")
CHATAPP_MAX_MESSAGE_CHARACTERS = env.integer("CHATAPP_MAX_MESSAGE_CHARACTERS", 32_000, low=100, high=1_000_000)
CHATAPP_MOST_WAITING = env.integer("CHATAPP_MOST_WAITING", 2_000, low=1)
CHATAPP_SOCKETS_PER_PERSON = env.integer("CHATAPP_SOCKETS_PER_PERSON", 50, low=1)
CHATAPP_SOCKETS_PER_WORKSPACE = env.integer("CHATAPP_SOCKETS_PER_WORKSPACE", 2_000, low=1)
CHATAPP_FRAMES_PER_SECOND = env.integer("CHATAPP_FRAMES_PER_SECOND", 10, low=1)
CHATAPP_REDIS_URL = ""  # set: the transport is in Redis; empty: in memory, in the process that serves
CHATAPP_TRANSPORT_SOCKET = VAR_DIR / "run" / "transport.sock"
METRICS_TOKEN = env.text("METRICS_TOKEN", "")
env.networks("FORWARDED_ALLOW_IPS", [])  # uvicorn's, which takes one that it cannot read for nobody's
CHATAPP_PURGE_DAYS = env.integer("CHATAPP_PURGE_DAYS", 30, low=1, high=3_650)
CHATAPP_ROLL_UP_DAYS = env.integer("CHATAPP_ROLL_UP_DAYS", 3, low=1, high=400)

LOG_LEVEL = env.choice("CHATAPP_LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
LOGGING_CONFIG = "chatapp.common.logging.configure"
LOGGING = {"level": LOG_LEVEL, "json": False}
