"""local.conf: read at the start, re-read by the rule that was measured, written by POST /config/settings.

Must always hold: invalid JSON ends the process with 1, at the start as well as in a running one. A change is seen at
the 10 s check only if `now - mtime <= 10 s`, with mtime cut to whole seconds: about one change in twenty is missed.
"""

import ipaddress
import json
import os
import sys
import time

CHECK_SECONDS = 10.0
LOOP_SLACK_SECONDS = 0.05


class LocalConf:
    """`document` is what /status shows as `.config`; `blacklist` is what the binder is told (`in force`)."""

    def __init__(self, loop, home, on_change):
        self.document = {}
        self._loop = loop
        self._path = os.path.join(home, "local.conf")
        self._on_change = on_change

    def load(self):
        try:
            with open(self._path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return
        try:
            document = json.loads(text)
            if not isinstance(document, dict):
                raise ValueError("not an object")
        except ValueError as error:
            print(f"zerotier-one: fatal error: unable to parse local.conf: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        self.document = document
        self._on_change()

    def watch(self):
        self._loop.every(CHECK_SECONDS + LOOP_SLACK_SECONDS, self._check)

    def settings(self):
        settings = self.document.get("settings")
        return settings if isinstance(settings, dict) else {}

    def blacklist(self):
        """Prefixes from the array; anything that is no array is ignored without a word."""
        value = self.settings().get("interfacePrefixBlacklist")
        return [entry for entry in value if isinstance(entry, str) and entry] if isinstance(value, list) else []

    def management_networks(self):
        value = self.settings().get("allowManagementFrom")
        return [ipaddress.ip_network(v, strict=False) for v in value] if isinstance(value, list) else []

    def merge_settings(self, body):
        """Merges into "settings" and writes the file. Shown at once; in force after the next reload that sees it."""
        if not isinstance(body, dict):
            return
        document = json.loads(json.dumps(self.document))
        document["settings"] = {**self.settings(), **body}
        with open(self._path, "w", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=4, sort_keys=True))
        self.document = document

    def _check(self):
        try:
            modified = os.stat(self._path).st_mtime
        except FileNotFoundError:
            return
        speed = self._loop.speed
        if time.time() * speed - int(modified * speed) <= CHECK_SECONDS:
            self.load()
