"""The application: Voilà serves notebooks/app/classify_a_video.ipynb on 127.0.0.1:$CDSW_APP_PORT (8100 where unset).

From the project's root: python cml/serve_application.py
VIDBENCH_MODEL names the model, "demo" where it is unset: any that `load_model` takes.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

NOTEBOOK = "notebooks/app/classify_a_video.ipynb"
UPLOAD_MB = 200  # in JupyterLab it is tornado's 10 MB
# Voilà's page names style sheets of a public server; where that is out of reach, a browser may wait long for them.
ONLY_FROM_HERE = "frame-ancestors 'self'; default-src 'self' data: blob: ws: wss: 'unsafe-inline' 'unsafe-eval'"


def command(port: int) -> list[str]:
    """What starts Voilà."""
    limit = (UPLOAD_MB + 1) * 2**20  # a message is the file and a little more
    settings = {"websocket_max_message_size": limit, "headers": {"Content-Security-Policy": ONLY_FROM_HERE}}
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", f"--Voila.tornado_settings={settings}"]
    return [sys.executable, "-m", "voila", NOTEBOOK, *options]


def variables(given: Mapping[str, str]) -> dict[str, str]:
    """What the notebook is told: a model's path is made absolute, as the notebook runs in its own folder."""
    model = given.get("VIDBENCH_MODEL", "demo")
    if "/" in model and Path(model).exists():
        model = str(Path(model).resolve())
    return {**given, "VIDBENCH_UPLOAD_MB": str(UPLOAD_MB), "VIDBENCH_MODEL": model}


def main() -> None:
    port = int(os.environ.get("CDSW_APP_PORT", "8100"))
    server = subprocess.Popen(command(port), env=variables(os.environ))
    with contextlib.suppress(ValueError):  # where this is not the main thread
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # whoever ends this ends the server
    with contextlib.suppress(KeyboardInterrupt):
        status = server.wait()
        if status not in (0, -signal.SIGTERM):
            raise subprocess.CalledProcessError(status, "voila")
    server.wait()


if __name__ == "__main__":
    main()
