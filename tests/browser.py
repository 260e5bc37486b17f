"""Headless Chromium over the W3C WebDriver protocol, for tests of pages."""

import base64
import json
import re
import subprocess
import urllib.request
from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the W3C's key of an element
KEYS = {"down": "\ue015", "escape": "\ue00c"}


class Browser:
    """Headless Chromium over the W3C WebDriver protocol."""

    def __init__(self, downloads: Path) -> None:
        self.process = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        self.base = f"http://127.0.0.1:{self._port()}"
        options = {
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,1100",
                     "--disable-dev-shm-usage"],
            "prefs": {"download.default_directory": str(downloads)},
        }  # fmt: skip
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}  # fmt: skip
        self.session = ""
        try:
            made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        except Exception:
            self.close()
            raise
        self.session = f"/session/{made['sessionId']}"

    def _port(self) -> str:
        for line in self.process.stdout:
            found = re.search(r"successfully on port (\d+)", line)
            if found:
                return found[1]
        raise RuntimeError("chromedriver said no port")

    def call(self, verb, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.base + path, data, {"Content-Type": "application/json"}, method=verb
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path: Path) -> None:
        self.call("POST", f"{self.session}/url", {"url": path.resolve().as_uri()})

    def run(self, script, *arguments):
        body = {"script": script, "args": list(arguments)}
        return self.call("POST", f"{self.session}/execute/sync", body)

    def click(self, selector: str) -> None:
        found = self.call("POST", f"{self.session}/element",
                          {"using": "css selector", "value": selector})  # fmt: skip
        self.call("POST", f"{self.session}/element/{found[ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        actions = []
        for key in keys:
            actions += [{"type": "keyDown", "value": KEYS.get(key, key)},
                        {"type": "keyUp", "value": KEYS.get(key, key)}]  # fmt: skip
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self.call("POST", f"{self.session}/actions", body)

    def choose(self, name: str, value: str) -> None:
        self.run(
            "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
            "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change'));",
            name, value,
        )  # fmt: skip

    def texts(self, selector: str) -> list[str]:
        return self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)",
            selector,
        )

    def rows(self) -> list[list[str]]:
        return self.run(
            "return [...document.querySelectorAll('#rows .row')].map("
            "(row) => [...row.children].map((cell) => cell.textContent))"
        )

    def log(self) -> list[str]:
        found = self.call("POST", f"{self.session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in found]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("GET", f"{self.session}/screenshot")))

    def close(self) -> None:
        try:
            if self.session:
                self.call("DELETE", self.session)
        finally:
            self.process.terminate()
            self.process.wait(timeout=20)
            self.process.stdout.close()
