"""The table of /v1: what a program is told by the key that it has.

``owner`` and ``stranger`` have keys of two workspaces; the keys of ``revoked``, ``suspended`` and ``left`` were good
until then; ``cookie`` is logged in to the pages; ``basic`` sends a good key as a password.
"""

from __future__ import annotations

from tests.doors.door import columns

ASKED = {"model": "test", "messages": [{"role": "user", "content": "Count."}], "max_tokens": 5}

DOORS = columns("""
                            owner stranger revoked suspended left  cookie basic anonymous
GET:v1/models               200   200      401     403       403   401    401   401
GET:v1/models/<path:name>   200   200      401     403       403   401    401   401
POST:v1/chat/completions    200   200      401     403       403   401    401   401
ANY:v1                      404   404      404     404       404   404    404   404
ANY:v1/                     404   404      404     404       404   404    404   404
ANY:v1/<path:rest>          404   404      404     404       404   404    404   404
""")

CODES = {401: "invalid_api_key", 403: "forbidden", 404: "unknown_url", 405: "method_not_allowed"}
NOTED = {"ApiKey"}  # when it was last used
CHANGES = {"POST:v1/chat/completions": {"Generation", "LedgerEntry", "UsageDay", "logs"}}  # of who is let in
