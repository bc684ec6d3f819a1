"""AWS KMS: a key of AWS's for each period. Needs `botocore` (`pip install 'sourced-streams[aws]'`), which finds
credentials and signs, as in any AWS client.

The role needs kms:CreateKey and kms:TagResource, and kms:Encrypt, kms:Decrypt and kms:ScheduleKeyDeletion for keys
with the tag `sourced`. AWS keeps a key that is to be deleted for seven days, disabled: an administrator of the account
could bring it back until then.
Source: https://docs.aws.amazon.com/kms/latest/APIReference/Welcome.html
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult

from streams.journal.port import NotPermitted, Unavailable
from streams.keys.management.port import KeyDestroyed
from streams.moments import now
from streams.settings import Settings, SettingsError
from streams.text import one_line

REQUEST_SECONDS = 5.0
PENDING_DAYS = 7
"""The least that AWS takes."""
_GONE = ("NotFoundException", "KMSInvalidStateException", "DisabledException")
_REFUSED = (
    "AccessDeniedException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
)


class AwsKeys:
    """A `KeyManagement` in a region of AWS; `endpoint` is another place that speaks its API."""

    def __init__(self, region: str, endpoint: str = "", ca: str = "") -> None:
        try:
            from botocore.config import Config
            from botocore.session import get_session
        except ImportError:
            raise SettingsError("KEY_MANAGEMENT: aws-kms needs botocore: pip install 'sourced-streams[aws]'") from None
        config = Config(
            connect_timeout=REQUEST_SECONDS,
            read_timeout=REQUEST_SECONDS,
            retries={"max_attempts": 2, "mode": "standard"},
        )
        self._region = region
        self._client: Any = get_session().create_client(
            "kms", region_name=region, endpoint_url=endpoint or None, verify=ca or None, config=config
        )

    @classmethod
    def of(cls, settings: Settings, parts: SplitResult) -> AwsKeys:
        """From `aws-kms://region`, or `aws-kms+http://host:port/region` for what stands in for it. Raises
        `SettingsError`."""
        if parts.scheme == "aws-kms":
            return cls(parts.netloc, ca=settings.key_management_ca_file)
        return cls(parts.path.strip("/") or "us-east-1", f"http://{parts.netloc}", settings.key_management_ca_file)

    async def create(self, name: str) -> str:
        tags = [{"TagKey": "sourced", "TagValue": name}]
        answer = await self._ask("create_key", Description=f"sourced {name}", KeyUsage="ENCRYPT_DECRYPT", Tags=tags)
        return str(answer["KeyMetadata"]["Arn"])

    async def wrap(self, key: str, secret: bytes) -> bytes:
        return bytes((await self._ask("encrypt", KeyId=key, Plaintext=secret))["CiphertextBlob"])

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        return bytes((await self._ask("decrypt", KeyId=key, CiphertextBlob=wrapped))["Plaintext"])

    async def destroy(self, key: str) -> datetime:
        try:
            answer = await self._ask("schedule_key_deletion", KeyId=key, PendingWindowInDays=PENDING_DAYS)
        except KeyDestroyed:  # it is to be deleted already, at the latest so late
            return now() + timedelta(days=PENDING_DAYS)
        date: datetime = answer["DeletionDate"]
        return date.astimezone(UTC)

    async def close(self) -> None:
        await asyncio.to_thread(self._client.close)

    def __str__(self) -> str:
        return f"AWS KMS in {self._region}"

    async def _ask(self, operation: str, **parameters: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            return await asyncio.to_thread(getattr(self._client, operation), **parameters)
        except ClientError as error:
            raise self._error(error.response["Error"]) from None
        except NoCredentialsError:
            raise NotPermitted(f"{self}: no credentials of AWS are found: see its documentation for botocore") from None
        except BotoCoreError as error:
            raise Unavailable(f"{self}: {one_line(error)}") from None

    def _error(self, error: dict[str, str]) -> Exception:
        code, text = error.get("Code", ""), f"{self}: {error.get('Code')}: {error.get('Message', '')}"
        if code in _GONE:
            return KeyDestroyed(text)
        if code in _REFUSED:
            return NotPermitted(text)
        if code == "InvalidCiphertextException":
            return ValueError(text)
        return Unavailable(text)
