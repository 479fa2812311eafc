"""The one date that a reproducible build may carry (https://reproducible-builds.org/docs/source-date-epoch)."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from hyperion.errors import ConfigError


def source_date() -> datetime | None:
    """SOURCE_DATE_EPOCH, in UTC; None where it is not set.

    Raises:
        ConfigError: It is no count of seconds.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return None
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {epoch[:40]!r}; expected seconds since 1970 as a whole number",
            hint="unset it, or set it as https://reproducible-builds.org/docs/source-date-epoch says",
        ) from error
