"""A client of the Open Inference Protocol v2 over HTTP, with JSON tensors."""

from __future__ import annotations

import json
import socket
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from hyperion.errors import ConfigError, EngineError
from hyperion.ports import Answer, Array, NotReady, Tensors

if TYPE_CHECKING:
    import httpx

UNIX = "unix:"
"""Before the path of a deployment's unix socket."""
MAX_ANSWER_BYTES = 256 * 1024 * 1024
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_DTYPES = {datatype: dtype for dtype, datatype in _DATATYPES.items()}
_TEXT = "BYTES"


class HttpInferenceClient:
    """Implements ports.InferenceClient; keeps its connections, as real clients do.

    Args:
        api_key: Shown to deployments that ask for one.
        authority: PEM file of the authority that certificates are traced to; None for those that the system trusts.
    """

    def __init__(self, api_key: str | None = None, authority: Path | None = None) -> None:
        self._api_key = api_key
        self._authority = authority
        self._kept: dict[str | None, httpx.Client] = {}

    def not_ready(self, url: str, model: str, timeout_s: float) -> NotReady | None:
        import httpx

        client, base = self._reach(url)
        try:
            answer = client.get(f"{base}/v2/models/{quote(model, safe='')}/ready", timeout=timeout_s)
        except httpx.TimeoutException:
            return NotReady(f"it did not answer its readiness probe in {timeout_s:g} s")
        except httpx.HTTPError as error:
            return _unreachable(error)
        if answer.status_code == httpx.codes.OK:
            return None
        is_refused = answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)
        return NotReady(
            f"it answered its readiness probe with {answer.status_code}: {_error_text(answer.content)}",
            "set HYPERION_API_KEY to a key with the scope infer ('hyperion key add')" if is_refused else None,
        )

    def infer(self, url: str, model: str, feeds: Tensors, timeout_s: float) -> Answer:
        body = json.dumps({"inputs": [_tensor(name, np.asarray(value)) for name, value in feeds.items()]}).encode()
        started = time.perf_counter()
        status, headers, raw = self._post(url, f"/v2/models/{quote(model, safe='')}/infer", body, timeout_s)
        latency_ms = 1000 * (time.perf_counter() - started)
        if status != 200:
            code = "inference.refused" if 400 <= status < 500 or status == 503 else "inference.failed"
            raise EngineError(f"{url}: model {model!r} answered {status}: {_error_text(raw)}", code=code)
        return _answer(url, model, headers, raw, latency_ms)

    def close(self) -> None:
        """Close the kept connections; a later request opens new ones."""
        for client in self._kept.values():
            client.close()
        self._kept.clear()

    def _reach(self, url: str) -> tuple[httpx.Client, str]:
        """The client for ``http://HOST:PORT`` or ``unix:PATH``, and what its requests' addresses begin with."""
        path = url.removeprefix(UNIX) if url.startswith(UNIX) else None
        if path not in self._kept:
            import httpx

            headers = {"content-type": "application/json"}
            if self._api_key is not None:
                headers["authorization"] = f"Bearer {self._api_key}"
            # Without the environment: a proxy has no place between us and our own loopback.
            verify = _trust(self._authority) if path is None else False
            transport = None if path is None else httpx.HTTPTransport(uds=path, verify=verify, trust_env=False)
            self._kept[path] = httpx.Client(trust_env=False, headers=headers, verify=verify, transport=transport)
        return self._kept[path], url if path is None else "http://localhost"

    def _post(self, url: str, path: str, body: bytes, timeout_s: float) -> tuple[int, httpx.Headers, bytes]:
        """Send, and read the answer until one deadline: httpx's own limits are for each step alone."""
        import httpx

        deadline = time.monotonic() + timeout_s
        client, base = self._reach(url)
        try:
            with client.stream("POST", base + path, content=body, timeout=timeout_s) as response:
                raw = bytearray()
                for chunk in response.iter_bytes():
                    raw += chunk
                    if time.monotonic() > deadline:
                        raise EngineError(f"{url}: no complete answer in {timeout_s:g} s", code="inference.timeout")
                    if len(raw) > MAX_ANSWER_BYTES:
                        raise EngineError(
                            f"{url}: the answer is over {MAX_ANSWER_BYTES} bytes", code="inference.failed"
                        )
                return response.status_code, response.headers, bytes(raw)
        except httpx.TimeoutException as error:
            raise EngineError(f"{url}: no answer in {timeout_s:g} s", code="inference.timeout") from error
        except httpx.HTTPError as error:
            raise EngineError(f"{url}: {error}", code="inference.failed") from error


def _unreachable(error: httpx.HTTPError) -> NotReady:
    """Why there was no answer; httpx keeps the operating system's error as its cause's cause."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NotReady(
                f"its certificate is not trusted: {cause.verify_message}",
                "set HYPERION_CA_FILE to the certificate of your authority; a name that does not fit is serve.tls.name",
            )
        if isinstance(cause, socket.gaierror):
            return NotReady(
                f"this host finds no address under its name: {cause.strerror}",
                "have it found where its clients run, in DNS or /etc/hosts; the name is serve.tls.name or serve.host",
            )
        cause = cause.__cause__ or cause.__context__
    return NotReady(f"it cannot be reached: {error}")


def _trust(authority: Path | None) -> ssl.SSLContext | bool:
    """Made only where it is needed: the system's authorities take a while to read."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise ConfigError(f"HYPERION_CA_FILE: cannot read {authority}: {error}", code="config.tls") from error


def _tensor(name: str, value: Array) -> dict[str, Any]:
    if value.dtype.kind in "OU":
        return {"name": name, "shape": list(value.shape), "datatype": _TEXT, "data": [str(v) for v in value.ravel()]}
    datatype = _DATATYPES.get(value.dtype.name)
    if datatype is None:
        raise EngineError(f"input {name!r}: {value.dtype.name} cannot be sent as JSON", code="inference.refused")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise EngineError(f"input {name!r} holds NaN or infinity, which JSON lacks", code="inference.refused")
    return {"name": name, "shape": list(value.shape), "datatype": datatype, "data": value.ravel().tolist()}


def _answer(url: str, model: str, headers: httpx.Headers, raw: bytes, latency_ms: float) -> Answer:
    try:
        document = json.loads(raw)
        outputs = {str(item["name"]): _array(item) for item in document["outputs"]}
        parameters = document.get("parameters") or {}
        revision = parameters.get("revision", headers.get("hyperion-revision"))
        return Answer(outputs, str(document["model_name"]), str(document["model_version"]), int(revision), latency_ms)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise EngineError(
            f"{url}: model {model!r} gave an answer that is no v2 inference response: {error!r}",
            code="inference.failed",
        ) from error


def _array(item: dict[str, Any]) -> Array:
    shape, data = [int(size) for size in item["shape"]], item["data"]
    if item["datatype"] == _TEXT:
        return np.asarray(data, dtype=object).reshape(shape)
    return np.asarray(data, dtype=np.dtype(_DTYPES[item["datatype"]])).reshape(shape)


def _error_text(raw: bytes) -> str:
    """What a v2 error body says, or the beginning of whatever came."""
    try:
        return str(json.loads(raw)["error"])[:500]
    except (ValueError, TypeError, KeyError):
        return raw[:200].decode(errors="replace")
