"""The table of django-allauth's pages, which are the same for everybody who is logged in.

Forms are posted empty: a form of which somebody may be shown what is missing is ``200``, and nothing is written.
"""

from __future__ import annotations

import re

from tests.doors.door import columns

RULES = columns("""
                                          GET       GET-logged-in  POST      POST-logged-in
accounts/login/                           200       /              200       /
accounts/logout/                          /         200            /         /
accounts/signup/                          200       /              200       /
accounts/inactive/                        200       200            405       405
accounts/reauthenticate/                  log-in    200            log-in    200
accounts/email/                           log-in    200            log-in    /accounts/email/
accounts/confirm-email/                   200       200            405       405
accounts/^confirm-email/(?P<key>[-:\\w]+)/$  200     200            404       404
accounts/password/change/                 log-in    200            log-in    200
accounts/password/set/                    log-in    /accounts/password/change/  log-in  /accounts/password/change/
accounts/password/reset/                  200       200            200       200
accounts/password/reset/done/             200       200            405       405
accounts/^password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/$  200  200  200  200
accounts/password/reset/key/done/         200       200            405       405
accounts/2fa/                              log-in  200  log-in  405
accounts/2fa/authenticate/                 /accounts/login/  /  /accounts/login/  /
accounts/2fa/reauthenticate/               log-in  /accounts/reauthenticate/  log-in  /accounts/reauthenticate/
accounts/2fa/totp/activate/                log-in-then  again  log-in-then  again
accounts/2fa/totp/deactivate/              log-in  404  log-in  404
accounts/2fa/recovery-codes/               log-in  404  log-in  405
accounts/2fa/recovery-codes/generate/      log-in-then  again  log-in-then  again
accounts/2fa/recovery-codes/download/      log-in  404  log-in  404
accounts/2fa/webauthn/                     log-in  200  log-in  405
accounts/2fa/webauthn/add/                 log-in-then  again  log-in-then  again
accounts/2fa/webauthn/reauthenticate/      log-in  /accounts/reauthenticate/  log-in  /accounts/reauthenticate/
accounts/2fa/webauthn/keys/<int:pk>/remove/  log-in-then  again  log-in-then  again
accounts/2fa/webauthn/keys/<int:pk>/edit/  log-in-then  again  log-in-then  again
accounts/2fa/webauthn/login/               /accounts/login/  /  /accounts/login/  /
accounts/sessions/                        log-in    200            log-in    /accounts/sessions/
accounts/login/code/confirm/              /accounts/login/  /      /accounts/login/  /
""")

# A first look at one's addresses notes the one that one signed up with; logging out ends the session.
# What was posted to a page that first asks who it is waits in the session, also of nobody.
CHANGES = {
    ("accounts/email/", "GET-logged-in"): {"EmailAddress"},
    ("accounts/logout/", "POST-logged-in"): {"Session"},
    **{
        (route, column): {"Session"}
        for route, row in RULES.items()
        for column in ("POST", "POST-logged-in")
        if "again" in row.values()
    },
}


def path(route: str) -> str:
    """An address of the route, with keys that nobody was given."""
    return "/" + re.sub(r"\(\?P<\w+>[^()]*\)", "x", route).replace("<int:pk>", "1").replace("^", "").replace("$", "")
