"""The requests that the service's document shows are accepted, and answered as it shows."""

import httpx
import pytest

from pipelines.staging.checks import Found
from pipelines.staging.examples import documented, examples, same
from tests.pipelines.staging.conftest import Service, changed

pytestmark = pytest.mark.unit


def test_every_example_of_the_real_document_is_answered(service: Service) -> None:
    """Single, both forms of a batch, both of the protocol's, and one made of the features' own examples."""
    with service.client as client:
        assert examples(client, service.bundle, "1").startswith("6 examples answered, 3 of them as")
    assert {"/predict", "/predict_batch", "/v2/models/toy/infer", "/v2/models/toy/versions/1/infer"} <= set(
        service.asked
    )


@pytest.mark.parametrize("path", ["/predict", "/predict_batch", "/v2/models/toy/infer"])
def test_a_refused_example_fails(service: Service, path: str) -> None:
    """Wherever it is, the sentence names the place."""

    def refusing(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        return httpx.Response(422, text="not you", request=request) if request.url.path == path else response

    service.spoil = refusing
    with service.client as client, pytest.raises(Found, match=f"422 from {path}: not you"):
        examples(client, service.bundle, "1")


@pytest.mark.parametrize("key", ["scores", "prediction", "digest"])
def test_an_example_that_is_answered_otherwise_than_shown_fails(service: Service, key: str) -> None:
    """The document is a promise."""

    def other(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path != "/predict":
            return response
        value = {"low": 0.5, "middle": 0.4, "high": 0.1} if key == "scores" else "another"
        return changed(response, lambda body: body.update({key: value}))

    service.spoil = other
    with (
        service.client as client,
        pytest.raises(Found, match="/predict does not answer its example as"),
    ):
        examples(client, service.bundle, "1")


def test_a_document_without_examples_fails(service: Service) -> None:
    """Nothing to try is no pass."""

    def bare(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path != "/openapi.json":
            return response
        return changed(response, lambda body: [body["paths"].pop(path) for path in list(body["paths"])[1:]])

    service.spoil = bare
    with service.client as client, pytest.raises(Found, match="shows 1 examples of toy"):
        examples(client, service.bundle, "1")


def test_an_example_of_a_feature_that_is_refused_fails(service: Service) -> None:
    """What the document shows beside each feature is a value that may be sent."""

    def wrong(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.url.path != "/openapi.json":
            return response

        def change(body: dict[str, dict[str, dict[str, dict[str, dict[str, object]]]]]) -> None:
            body["components"]["schemas"]["toyRow"]["properties"]["width"]["example"] = -1

        return changed(response, change)

    service.spoil = wrong
    with service.client as client, pytest.raises(Found, match="422 from /predict"):
        examples(client, service.bundle, "1")


def test_examples_of_other_models_are_not_this_ones(service: Service) -> None:
    """A version is judged by its own."""
    with service.client as client:
        document = client.get("/openapi.json").json()
    assert list(documented(document, "other", "1")) == []


@pytest.mark.parametrize(
    ("found", "shown", "expected"),
    [
        ({"a": 1.0, "request_id": "x"}, {"a": 1.0 + 1e-7, "request_id": "y"}, True),
        ({"a": 1.0}, {"a": 1.1}, False),
        ({"a": float("nan")}, {"a": 1.0}, False),
        ({"a": "1.0"}, {"a": 1.0}, False),
        ({"a": 1.0, "b": 2}, {"a": 1.0}, False),
        ([1, 2], [1, 2, 3], False),
        ([1, "x"], [1, "x"], True),
        ({"a": None}, {"a": {}}, False),
    ],
)
def test_same_means_equal_but_for_rounding_and_ids(found: object, shown: object, expected: bool) -> None:
    """Numbers within the tolerance; every key, and no other."""
    assert same(found, shown, 1e-5) is expected
