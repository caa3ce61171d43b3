"""The handler as tutorials write it: one image after the other, full decode, float32, boto3 as it comes.

``ENGINE`` chooses what runs the network: ``tflite``, ``keras`` or ``onnx``; ``MODEL`` is its file, which takes RGB
from 0 to 255.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import unquote_plus

import boto3
import numpy as np
from PIL import Image

SIZE = 224


def _tflite(path: str) -> Callable[[Any], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(batch: Any) -> Any:
        interpreter.set_tensor(first, batch)
        interpreter.invoke()
        return interpreter.get_tensor(last)

    return predict


def _keras(path: str) -> Callable[[Any], Any]:
    import tensorflow as tf

    # More threads than cores wait for each other, spinning.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = tf.keras.models.load_model(path)
    return lambda batch: model.predict(batch, verbose=0)


def _onnx(path: str) -> Callable[[Any], Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


predict = {"tflite": _tflite, "keras": _keras, "onnx": _onnx}[os.environ["ENGINE"]](os.environ["MODEL"])
s3 = boto3.client("s3")
table = boto3.resource("dynamodb").Table(os.environ["TABLE_NAME"])


def handler(event: dict[str, Any], _: object) -> dict[str, Any]:
    """Classify every image of the batch, write a JSON file and an item for each."""
    for message in event["Records"]:
        for record in json.loads(message["body"])["Records"]:
            bucket, key = record["s3"]["bucket"]["name"], unquote_plus(record["s3"]["object"]["key"])
            data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            image = Image.open(io.BytesIO(data)).convert("RGB").resize((SIZE, SIZE))
            scores = predict(np.asarray(image, dtype=np.float32)[np.newaxis])[0]
            best = [{"label": str(label), "confidence": float(scores[label])} for label in np.argsort(scores)[:-6:-1]]
            result = {"image": f"s3://{bucket}/{key}", **best[0], "top": best}
            output = key.replace("incoming/", "predictions/", 1) + ".json"
            s3.put_object(Bucket=bucket, Key=output, Body=json.dumps(result), ContentType="application/json")
            item = json.loads(json.dumps(result), parse_float=Decimal)
            table.put_item(Item={"image_uri": item.pop("image"), **item})
    return {"batchItemFailures": []}
