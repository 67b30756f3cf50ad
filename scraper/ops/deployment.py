"""How workers are kept running elsewhere: a systemd template unit, a Kubernetes Deployment."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from scraper.ops.systemd import escaped, quoted

STOP_WITHIN = 15  # seconds


def unit(python: Path, folder: Path, words: Sequence[str]) -> str:
    """The template `scraper-worker@.service`: one instance a process, `scraper-worker@1` and so on."""
    command = " ".join(quoted(word) for word in (str(python), "-m", "scraper", "work", *words))
    lines = [
        *("[Unit]", f"Description={escaped(f'Scraper worker %i in {folder}/').replace('%%i', '%i')}"),
        *("Wants=network-online.target", "After=network-online.target", ""),
        *("[Service]", "Type=exec", f"WorkingDirectory={escaped(str(folder))}", f"ExecStart={command}"),
        # Where the password of the database is: a file for root alone.
        *("EnvironmentFile=-/etc/scraper-worker.env", "Restart=always", "RestartSec=5"),
        # It gives its domains back; then it has stopped, not failed.
        *(f"TimeoutStopSec={STOP_WITHIN}", "SuccessExitStatus=143", ""),
        *("[Install]", "WantedBy=multi-user.target"),
    ]
    return "\n".join(lines) + "\n"


def deployment(words: Sequence[str], name: str | None = None) -> str:
    """A Deployment, as YAML; SCRAPER_STORE comes from a Secret named scraper-store."""
    label = re.sub(r"[^a-z0-9]+", "-", f"scraper-worker-{name or 'all'}".lower()).strip("-")[:63]
    command = json.dumps(["python", "-m", "scraper", "work", *words])
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {label}
spec:
  replicas: 4
  selector:
    matchLabels:
      app: {label}
  template:
    metadata:
      labels:
        app: {label}
    spec:
      terminationGracePeriodSeconds: {STOP_WITHIN}
      containers:
        - name: worker
          image: YOUR-IMAGE  # Python, this package with the extra postgres, and the folder of your spiders
          command: {command}
          env:
            - name: SCRAPER_STORE
              valueFrom:
                secretKeyRef:
                  name: scraper-store
                  key: url
          volumeMounts:
            - name: data
              mountPath: /srv/scraper/data
          workingDir: /srv/scraper
      volumes:
        - name: data
          emptyDir: {{}}
"""
