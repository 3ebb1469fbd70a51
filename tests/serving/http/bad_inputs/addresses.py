"""Requests to a wrong address: models, parameters, paths and methods.

HEAD is answered wherever GET is, and nowhere else. OPTIONS is refused, with the methods in `Allow`: the
service is not for pages of other origins. TRACE and unknown methods are refused like any other.
"""

import json

from tests.serving.http.bad_inputs.form import ROW, Bad, asked

GOOD = json.dumps({"row": ROW}).encode()


def query(text: str, status: int, field: str, url: str = "/predict") -> Bad:
    """A good body under a query that is wrong."""
    content = GOOD if url == "/predict" else json.dumps({"rows": [ROW]}).encode()
    return Bad(content, status, field, url=f"{url}?{text}")


def method(name: str, url: str = "/predict") -> Bad:
    """A route by a method that it has not."""
    return asked(url, 405, "method", name, GOOD)


CASES = {
    "unknown model": query("model=tyo", 404, "model"),
    "unknown model of a batch": query("model=tyo", 404, "model", "/predict_batch"),
    "empty model": query("model=", 404, "model"),
    "blank model": query("model=%20", 404, "model"),
    "model in capitals": query("model=TOY", 404, "model"),
    "model with a blank": query("model=toy%20", 404, "model"),
    "model with a nul": query("model=toy%00", 404, "model"),
    "model with a line feed": query("model=toy%0d%0aX-Admin:%201", 404, "model"),
    "model with an escape character": query("model=%1b[31mtoy", 404, "model"),
    "model in bad utf-8": query("model=%ff%fe", 404, "model"),
    "model by a path": query("model=../toy", 404, "model"),
    "model by an encoded path": query("model=..%2F..%2Fetc%2Fpasswd", 404, "model"),
    "model by an address": query("model=file:///etc/passwd", 404, "model"),
    "model of ten thousand letters": query("model=" + "x" * 10_000, 404, "model"),
    "model as markup": query("model=%3Cscript%3E", 404, "model"),
    "model as a template": query("model=%24%7Bjndi:ldap://x%7D", 404, "model"),
    "model twice": query("model=toy&model=toy", 422, "model"),
    "model as a list": query("model[]=toy", 422, "model[]"),
    "misspelt parameter": query("modle=toy", 422, "modle"),
    "parameter in capitals": query("MODEL=toy", 422, "MODEL"),
    "parameter without a value": query("debug", 422, "debug"),
    "parameter of another route": query("model=toy&rows=1", 422, "rows"),
    "huge parameter": query("x" * 10_000 + "=toy", 422, "x" * 80),
    "hundreds of parameters": query("&".join(f"p{index:03}=1" for index in range(500)), 422, "p000"),
    "misspelt parameter of a batch": query("modle=toy", 422, "modle", "/predict_batch"),
    "parameter of the claimed route": Bad(
        b'{"data": [[1, 2]]}', 422, "model", url="/predict/label?model=plain"
    ),
    "unknown version": query("version=2", 404, "version"),
    "unknown version of a named model": query("model=strict&version=one", 404, "version"),
    "unknown version of a batch": query("version=2", 404, "version", "/predict_batch"),
    "empty version": query("version=", 404, "version"),
    "version with a blank": query("version=1%20", 404, "version"),
    "version as a number with a fraction": query("version=1.0", 404, "version"),
    "version with a nul": query("version=1%00", 404, "version"),
    "version by a path": query("version=../1", 404, "version"),
    "version in other digits": query("version=%D9%A1", 404, "version"),
    "version of ten thousand letters": query("version=" + "1" * 10_000, 404, "version"),
    "version twice": query("version=1&version=1", 422, "version"),
    "version of an unknown model": query("model=tyo&version=1", 404, "model"),
    "misspelt version parameter": query("verison=1", 422, "verison"),
    "contract of an unknown version": asked("/models/toy/contract?version=2", 404, "version"),
    "contract under an unknown parameter": asked("/models/toy/contract?v=1", 422, "v"),
    "score of an unknown entity": asked("/scores/toy/UA1", 404, "entity_id"),
    "score of an unknown model": asked("/scores/tyo/UA1", 404, "entity_id"),
    "score of a long entity": asked("/scores/toy/" + "x" * 201, 422, "entity_id"),
    "score of an empty entity": asked("/scores/toy/", 422, "entity_id"),
    "score of a parent folder": asked("/scores/%2e%2e/%2e%2e%2fstate", 404, "entity_id"),
    "score with a nul": asked("/scores/toy/a%00", 404, "path"),
    "score under an unknown parameter": asked("/scores/toy/UA1?version=1", 422, "version"),
    "post a score": method("POST", "/scores/toy/UA1"),
    "unknown path": asked("/nope", 404, "path"),
    "path in capitals": asked("/Predict", 404, "path", "POST", GOOD),
    "path with a slash behind it": asked("/predict/", 404, "path", "POST", GOOD),
    "path with two slashes": asked("/predict//label", 404, "path", "POST", GOOD),
    "path below a route": asked("/predict/label/plain", 404, "path", "POST", GOOD),
    "batch with a slash behind it": asked("/predict_batch/", 404, "path", "POST", GOOD),
    "models with a slash behind it": asked("/models/", 404, "path"),
    "unclaimed route": asked("/predict/price", 404, "path", "POST", GOOD),
    "path with a nul": asked("/predict%00", 404, "path", "POST", GOOD),
    "path with a line feed": asked("/predict%0a", 404, "path", "POST", GOOD),
    "path in bad utf-8": asked("/%ff%fe", 404, "path"),
    "path of ten thousand letters": asked("/" + "x" * 10_000, 404, "path"),
    "path up": asked("/%2e%2e/%2e%2e/etc/passwd", 404, "path"),
    "path of a secret file": asked("/.env", 404, "path"),
    "path of another server's admin": asked("/admin", 404, "path"),
    "file above the static ones": asked("/static_content/%2e%2e/%2e%2e/base_app.py", 404, "path"),
    "file by an absolute path": asked("/static_content//etc/passwd", 404, "path"),
    "file with a nul": asked("/static_content/a%00.js", 404, "path"),
    "file with a long name": asked("/static_content/" + "x" * 5_000, 404, "path"),
    "folder of the static files": asked("/static_content/", 404, "path"),
    "contract of an unknown model": asked("/models/tyo/contract", 404, "model"),
    "contract of a parent folder": asked("/models/%2e%2e/contract", 404, "model"),
    "contract by an encoded slash": asked("/models/toy%2F..%2Ftoy/contract", 404, "path"),
    "contract by a path": asked("/models/..%2Ftoy/contract", 404, "path"),
    "contract with a nul": asked("/models/toy%00/contract", 404, "path"),
    "contract of a name with a line feed": asked("/models/toy%0a/contract", 404, "path"),
    "contract of a name of ten thousand letters": asked(f"/models/{'x' * 10_000}/contract", 404, "model"),
    "contract of a name that is empty": asked("/models//contract", 404, "path"),
    "something else of a model": asked("/models/toy/model.onnx", 404, "path"),
    "model itself": asked("/models/toy", 404, "path"),
    **{
        f"{name.lower()} predict": method(name)
        for name in (
            "GET",
            "HEAD",
            "PUT",
            "PATCH",
            "DELETE",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "PROPFIND",
            "BREW",
        )
    },
    "get batch": method("GET", "/predict_batch"),
    "put batch": method("PUT", "/predict_batch"),
    "get the claimed route": method("GET", "/predict/label"),
    "put the claimed route": method("PUT", "/predict/label"),
    "options of the claimed route": method("OPTIONS", "/predict/label"),
    "head of the claimed route": method("HEAD", "/predict/label"),
    "delete models": method("DELETE", "/models"),
    "post models": method("POST", "/models"),
    "put a contract": method("PUT", "/models/toy/contract"),
    "post status": method("POST", "/status"),
    "post the document": method("POST", "/openapi.json"),
    "post the docs": method("POST", "/docs"),
    "post the index": method("POST", "/"),
    "post a static file": method("POST", "/static_content/swagger-ui.css"),
}
