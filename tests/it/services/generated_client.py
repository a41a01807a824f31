"""A client that is generated from the Swagger documents of services, with everything checked that bravado can check."""

import os
import time

import requests
from bravado.client import SwaggerClient
from bravado.exception import HTTPError
from bravado.requests_client import RequestsClient
from swagger_spec_validator.validator20 import validate_spec

WARREN = os.environ["WARREN"]
HOST = WARREN.removeprefix("http://")
CONFIG = {
    "validate_swagger_spec": True,
    "validate_requests": True,
    "validate_responses": True,
    "use_models": True,
}
USER = {"username": "ana", "password": os.environ["PASSWORD"]}


def client(name, token):
    """The client of a service, made from the document that the service itself gives."""
    place = f"{WARREN}/api/{name}/v1/swagger.json"
    document = requests.get(place, headers={"Authorization": f"Bearer {token}"}, timeout=60)
    document.raise_for_status()
    validate_spec(document.json())
    http = RequestsClient()
    http.set_api_key(HOST, f"Bearer {token}", param_name="Authorization", param_in="header")
    return SwaggerClient.from_spec(document.json(), origin_url=place, http_client=http, config=CONFIG)


def result(operation, **inputs):
    """What a call answers; bravado has held it against the document."""
    answer = operation(WebServiceParameters=inputs).response().result
    assert answer.success, answer.errorMessage
    return answer


first = requests.post(f"{WARREN}/login", json=USER, timeout=60).json()["access_token"]

# The document of the API is one, too.
validate_spec(requests.get(f"{WARREN}/swagger.json", headers={"Authorization": f"Bearer {first}"}, timeout=60).json())

# A generated client signs in by itself.
tokens = client("scalar", first).User.login(loginRequest=USER).response().result
assert tokens.token_type == "Bearer" and int(tokens.expires_on) > 0
token = tokens.access_token
assert token != first
try:
    wrong = {**USER, "password": "wrong"}
    client("scalar", token).User.login(loginRequest=wrong).response()
    raise AssertionError("a wrong password was taken")
except HTTPError as refused:
    assert refused.status_code == 401, refused
    assert refused.swagger_result.message, refused.swagger_result

# The alias of the service is the name of the method.
scalar = client("scalar", token).scalar
answer = result(scalar.convert, x=2.5, n=3, text="é", flag=True)
assert answer.consoleOutput == "hello", answer.consoleOutput
outputs = answer.outputParameters
assert (outputs.x, outputs.n, outputs.text, outputs.flag) == (2.5, 3, "é", True), outputs
# What is missing, or no number, comes as the document allows.
outputs = result(scalar.convert, x=None, n=None, text=None, flag=None).outputParameters
assert (outputs.x, outputs.n, outputs.text, outputs.flag) == (None, None, None, None), outputs
outputs = result(scalar.convert, x=-1, n=1, text="", flag=False).outputParameters
assert outputs.x == "NaN", outputs

# A run that fails is an answer; inputs that do not fit are none.
answer = scalar.convert(WebServiceParameters={"x": 1, "n": 0, "text": "stop", "flag": True}).response().result
assert not answer.success and answer.errorMessage == "no", answer
try:
    scalar.convert(WebServiceParameters={"x": 1}).response()
    raise AssertionError("a call without its inputs was taken")
except HTTPError as refused:
    assert refused.status_code == 400, refused

# Without an alias the method has the name that the original gives it.
vector = client("vector", token).vector
assert result(vector.ConsumeWebService, v=[3, None, 1]).outputParameters.sorted == [1, 3, None]
assert result(vector.ConsumeWebService, v=[]).outputParameters.sorted == []

frame = client("frame", token).frame
answer = result(frame.ConsumeWebService, df={"hp": [120, 110], "wt": [2.8, 2.6]})
assert answer.outputParameters.ratio == {"hp_by_wt": [120 / 2.8, 110 / 2.6]}, answer
assert answer.outputParameters.m == [[120, 2.8], [110, 2.6]], answer
# bravado gives what is declared as bytes back as text.
assert set(answer.outputFiles) == {"table.csv", "missing.csv"}, answer
assert answer.outputFiles["missing.csv"] is None and answer.outputFiles["table.csv"], answer
assert answer.changedFiles == ["table.csv"], answer

# What the document declares is held against what is sent, before it is sent.
try:
    frame.ConsumeWebService(WebServiceParameters={"df": "no frame"}).response()
    raise AssertionError("a string was taken for a data frame")
except Exception as refused:  # jsonschema's own, which bravado passes on
    assert "no frame" in str(refused) and not isinstance(refused, (AssertionError, HTTPError)), refused

# Many records, with what became of each.
started = frame.StartBatchExecution(
    BatchWebServiceParameters=[{"df": {"hp": [1], "wt": [1]}}, {"df": {"hp": ["x"], "wt": [1]}}], parallelCount=2
).response().result
batch = started.batchExecutionId
assert batch in frame.GetBatchExecutions().response().result
deadline = time.monotonic() + 60
while (seen := frame.GetBatchExecutionStatus(executionId=batch).response().result).state != "Complete":
    assert seen.totalItemCount == 2 and len(seen.batchExecutionResults) == 2, seen
    assert time.monotonic() < deadline, seen
    time.sleep(0.05)
good, bad = seen.batchExecutionResults
assert good.success and good.outputParameters.ratio == {"hp_by_wt": [1]}, good
assert not bad.success and bad.errorMessage, bad
assert frame.GetBatchExecutionFiles(executionId=batch, index=0).response().result == ["table.csv"]
table = frame.GetBatchExecutionFile(executionId=batch, index=0, fileName="table.csv").response().result
assert b"hp_by_wt" in (table if isinstance(table, bytes) else table.encode()), table
assert frame.CancelAndDeleteBatchExecution(executionId=batch).response().result == [batch]
try:
    frame.GetBatchExecutionStatus(executionId=batch).response()
    raise AssertionError("a batch that was deleted is there")
except HTTPError as refused:
    assert refused.status_code == 404, refused
