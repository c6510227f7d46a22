"""The liveness probe of a container: requests `/` at HOST and PORT.

`/health` also says whether Coze answers, which a restart cannot mend.
"""

import contextlib
import http.client
import ipaddress
import sys

from service import settings
from service.bounds import BOUNDS


def main() -> None:
    """Exits with 0 if the service answers, else with 1 and one line with the reason."""
    try:
        host, port = settings.read_address()
    except settings.SettingsError as error:
        sys.exit(str(error))
    if not any(_answers(address, port) for address in _reached_by(host)):
        sys.exit(f"Nothing good answers on port {port} of {host}.")


def _reached_by(host: str) -> list[str]:
    """Returns the addresses at which this machine reaches a server on `host`."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            # A server on every IPv6 address accepts IPv4 as well, and the machine may have only one of the two.
            return ["127.0.0.1", "::1"][: 1 if address.version == 4 else 2]
    return [host]


def _answers(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=BOUNDS.probe_seconds)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
