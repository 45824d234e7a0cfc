"""A word to a person who is elsewhere, by whatever Apprise reaches: mail, Slack, Telegram, a phone."""

from __future__ import annotations

import logging

from hpo.domain.errors import EnvironmentFault, UsageError


class Notices:
    """Messages to some addresses of Apprise. They hold passwords, so none is ever shown.

    Raises:
        UsageError: an address has no form that Apprise knows. EnvironmentFault: Apprise is not installed.
    """

    def __init__(self, addresses: str) -> None:
        """addresses: separated by white space."""
        try:
            import apprise
        except ImportError:
            raise EnvironmentFault("HPO_NOTIFY needs Apprise: pip install 'tiertune[notify]'.") from None
        logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)  # it logs addresses
        self._apprise = apprise.Apprise()
        for number, address in enumerate(addresses.split(), start=1):
            if not self._apprise.add(address):
                raise UsageError(
                    f"HPO_NOTIFY: address {number} has no form that Apprise knows; "
                    "https://appriseit.com/services lists them, json://host/path for one."
                )

    def send(self, title: str, text: str) -> bool:
        """Whether the message reached every address."""
        return bool(self._apprise.notify(title=title, body=text))
