"""A stub of GitHub's API that takes only what GitHub's takes."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class GitHub(ThreadingHTTPServer):
    """GitHub's `POST /repos/{owner}/{repo}/dispatches`, as strict as it is documented.

    https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _GitHubHandler)
        self.events: list[dict[str, object]] = []
        self.down = False


class _GitHubHandler(BaseHTTPRequestHandler):
    server: GitHub

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.verdict(raw))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def verdict(self, raw: bytes) -> int:
        if self.server.down:
            return 503
        if self.headers["Authorization"] != "Bearer secret":
            return 401
        if self.path != "/repos/me/it/dispatches":
            return 404
        if self.headers["Accept"] != "application/vnd.github+json" or not self.headers["User-Agent"]:
            return 415
        if self.headers["X-GitHub-Api-Version"] != "2022-11-28":
            return 400
        body = json.loads(raw)
        event, payload = body.pop("event_type"), body.pop("client_payload", {})
        fits = isinstance(event, str) and 0 < len(event) <= 100 and isinstance(payload, dict)
        if body or not fits or len(payload) > 10 or len(json.dumps(payload)) > 65_535:
            return 422
        self.server.events.append({"type": event, **payload})
        return 204

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""
