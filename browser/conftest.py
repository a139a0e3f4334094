"""Real servers on loopback and a real browser; `.ci/browser` runs what is here, the default test run does not."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = os.environ.get("VIDBENCH_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(command: list[str], url: str, log: Path, folder: Path, **variables: str):
    """Run a server until the block ends; it has answered at `url` before the block begins."""
    environment = {**os.environ, **variables}
    with log.open("wb") as lines:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=lines, stderr=subprocess.STDOUT)
        try:
            wait_for(url, server, log)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(120):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(url, timeout=60).close()
        except urllib.error.HTTPError:
            return  # even a refusal is an answer
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"no answer from {url}:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="session")
def shots(tmp_path_factory) -> Path:
    """Where screenshots go: VIDBENCH_SCREENSHOTS, else a temporary folder."""
    folder = Path(os.environ.get("VIDBENCH_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    print("screenshots:", folder)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A folder like the repository's, whose notebooks may be run and saved."""
    folder = tmp_path_factory.mktemp("project")
    ignored = shutil.ignore_patterns(".ipynb_checkpoints", "results", "runs")
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=ignored)
    for name in ("data", "images", "scripts", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    return folder


@pytest.fixture(scope="session")
def lab(project, tmp_path_factory) -> str:
    """The address of a JupyterLab with no settings of anybody's, no token, and `project` as its folder."""
    home, port = tmp_path_factory.mktemp("jupyter"), free_port()
    variables = {f"JUPYTER_{name}_DIR": str(home / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    variables |= {f"JUPYTERLAB_{name}_DIR": str(home / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    news = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text('{"fetchNews": "false"}')
    variables |= {"IPYTHONDIR": str(home / "ipython"), "PYTHONPATH": str(ROOT)}
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--port={port}",
        "--LabApp.expose_app_in_browser=True",
    ]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={project}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with served(command, f"http://127.0.0.1:{port}/lab", home / "log", project, **variables) as url:
        yield url


@pytest.fixture(scope="session")
def application(tmp_path_factory) -> str:
    """The address of the application, as the platform starts it."""
    port, log = free_port(), tmp_path_factory.mktemp("application") / "log"
    command = [sys.executable, "cml/serve_application.py"]
    variables = {"CDSW_APP_PORT": str(port), "PYTHONPATH": str(ROOT)}
    with served(command, f"http://127.0.0.1:{port}/static/", log, ROOT, **variables):
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.fail("no Chromium here: install it, or name it by VIDBENCH_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A new tab; at its end, whatever it asked for was on this machine."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: request.failure == "csp" and asked.remove(request.url))
    yield page
    context.close()
    outside = [url for url in asked if not url.startswith(("http://127.0.0.1", "data:", "blob:", "ws://127.0.0.1"))]
    assert outside == []


def choose_file(page, path: Path) -> None:
    """Press the upload button and choose a file."""
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=re.compile("at most")).click()
    chooser.value.set_files(path)
