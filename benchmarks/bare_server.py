"""The reference of benchmarks.request_cost: uvicorn and the same model session with nothing around them.

No limits, metrics, log, checks of the input, revisions or drain: ``python -m benchmarks.bare_server PACKAGE PORT``.
"""

from __future__ import annotations

import sys

import numpy as np
import orjson
import uvicorn

import hyperion


def main(package: str, port: int) -> None:
    model = hyperion.load_model(package)
    (name,) = (tensor.name for tensor in model.inputs)

    async def application(scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        tensor = orjson.loads(body)["inputs"][0]
        outputs = model.run({name: np.array(tensor["data"], np.float32).reshape(tensor["shape"])})
        answer = [
            {"name": key, "datatype": "FP32", "shape": value.shape, "data": value.ravel()}
            for key, value in outputs.items()
        ]
        raw = orjson.dumps({"model_name": "bench", "outputs": answer}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(raw))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": raw})

    uvicorn.run(application, host="127.0.0.1", port=port, access_log=False, lifespan="off", log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
