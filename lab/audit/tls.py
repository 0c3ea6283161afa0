"""Scans TLS ports with sslyze and holds each against Mozilla's intermediate profile. Runs in the scanners' image.

    tls.py ADDRESS:PORT[:PROTOCOL]...

PROTOCOL (SMTP, POP3) says that TLS starts after a command. Prints JSON, for each port: whether it speaks TLS at all, the issues by
name, and why it could not be scanned if so.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from sslyze import (
    ProtocolWithOpportunisticTlsEnum,
    Scanner,
    ServerNetworkConfiguration,
    ServerNetworkLocation,
    ServerScanRequest,
)
from sslyze.mozilla_tls_profile.tls_config_checker import (
    SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    MozillaTlsConfiguration,
    ServerNotCompliantWithTlsConfiguration,
    ServerScanResultIncomplete,
    TlsConfigurationEnum,
    check_server_against_tls_configuration,
)

# sslyze's word for a server that does not offer to start TLS.
NO_TLS = "ServerRejectedOpportunisticTlsNegotiation"


def request(target: str) -> ServerScanRequest:
    """What is wanted of sslyze for one argument."""
    host, port, *protocol = target.split(":")
    how = ServerNetworkConfiguration(
        tls_server_name_indication=host,
        tls_opportunistic_encryption=ProtocolWithOpportunisticTlsEnum[protocol[0]] if protocol else None,
    )
    return ServerScanRequest(
        server_location=ServerNetworkLocation(hostname=host, port=int(port)),
        network_configuration=how,
        scan_commands=SCAN_COMMANDS_NEEDED_BY_MOZILLA_CHECKER,
    )


def scan(targets: list[str]) -> dict[str, dict[str, Any]]:
    """What is found at some targets, by host and port."""
    profile = MozillaTlsConfiguration.get(TlsConfigurationEnum.MOZILLA_INTERMEDIATE)
    scanner = Scanner()
    scanner.queue_scans(request(target) for target in targets)
    out = {}
    for result in scanner.get_results():
        issues: dict[str, str] = {}
        error = ""
        try:
            check_server_against_tls_configuration(result, profile)
        except ServerNotCompliantWithTlsConfiguration as problem:
            issues = problem.issues
        except ServerScanResultIncomplete as problem:
            error = str(problem)
        trace = result.connectivity_error_trace
        speaks_tls = not (trace and trace.exc_type and trace.exc_type.__name__ == NO_TLS)
        if trace and speaks_tls:
            error = "".join(trace.format_exception_only()).strip()
        out[f"{result.server_location.hostname}:{result.server_location.port}"] = {
            "speaks_tls": speaks_tls,
            "issues": issues,
            "error": error if speaks_tls else "",
        }
    return out


def main() -> int:
    """Scan what the arguments name."""
    found = scan(sys.argv[1:])
    # All ports at once may be more handshakes than a server answers in time; one at a time they are not.
    for target in sys.argv[1:]:
        if found[":".join(target.split(":")[:2])]["error"]:
            found |= scan([target])
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
