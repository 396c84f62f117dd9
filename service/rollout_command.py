"""The command `pricebandit rollout`: a running service's models, from the command line."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from encoders import AdapterError, adapter_folder
from service.progress_bar import ProgressBar

Adapter = Annotated[
    Path | None, typer.Argument(help="Folder of an adapter, where the service can read it.")
]
Base = Annotated[bool, Option("--base", help="Roll out the base model without an adapter.")]
Back = Annotated[
    bool, Option("--back", help="Go back to the model that was in use before this one.")
]
Prepare = Annotated[bool, Option("--prepare", help="Prepare it, and leave the other in use.")]
Url = Annotated[
    str | None, Option(help="Of the service. Default: PRICEBANDIT_PORT on this machine.")
]
Key = Annotated[str | None, Option(help="Bearer key. Default: the first of PRICEBANDIT_API_KEYS.")]

_POLL_SECONDS = 0.2


class NotRolledOut(Exception):
    """The service refused or failed, or cannot be reached; the message says why."""


def rollout(
    adapter: Adapter = None,
    base: Base = False,
    back: Back = False,
    prepare: Prepare = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Switch a running service to another adapter while it prices, or back; alone: show models."""
    if (adapter is not None) + base + back > 1:
        typer.echo("give an adapter, --base or --back, not two of them", err=True)
        raise typer.Exit(2)
    if back and prepare:
        typer.echo("--back switches, it cannot only --prepare: leave one of them out", err=True)
        raise typer.Exit(2)
    try:
        service = _service(url, key)
        if back:
            _follow(service, _before(service.get("/v1/models")), prepare)
        elif base or adapter is not None:
            folder = None if adapter is None else str(adapter_folder(adapter))
            _follow(service, service.post("/v1/models", {"adapter": folder})["version"], prepare)
        _show(service.get("/v1/models"))
    except (NotRolledOut, AdapterError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


class _Service:
    """A running service.

    Args:
        url: without a path. key: bearer key, None for none.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key}"

    def get(self, path: str) -> Any:
        return self._ask(path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask(path, json.dumps(body).encode())

    def _ask(self, path: str, body: bytes | None) -> Any:
        try:
            asked = urllib.request.Request(self._url + path, body, self._headers)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                detail = json.load(error)["detail"]
            except (ValueError, KeyError, TypeError):
                detail = error.reason
            raise NotRolledOut(f"{self._url} answered {error.code}: {detail}") from error
        except (OSError, ValueError, HTTPException) as error:  # whoever answers, it is no HTTP
            raise NotRolledOut(
                f"{self._url} cannot be reached ({error}): start the service, or give its --url"
            ) from error


def _service(url: str | None, key: str | None) -> _Service:
    from service.settings import BadSettings, read_settings

    try:
        settings = read_settings()
    except BadSettings as error:
        raise NotRolledOut(str(error)) from error
    if key is None and settings.api_keys:
        key = settings.api_keys[0]
    return _Service(url or f"http://127.0.0.1:{settings.port}", key)


def _before(told: dict[str, Any]) -> str:
    """Version of the model that was in use before the active one."""
    kept = [model for model in told["models"] if model["state"] == "kept"]
    if not kept:
        raise NotRolledOut("no other model was in use before: there is none to go back to")
    return str(max(kept, key=lambda model: model["activated_at"])["version"])


def _follow(service: _Service, version: str, prepare: bool) -> None:
    """Activate a model unless it is only to be prepared, and show how far it has come."""
    if not prepare:
        service.post(f"/v1/models/{version}/activate", {})
    wanted = {"active", "ready"} if prepare else {"active"}
    with ProgressBar(f"model {version}") as bar:
        while True:
            models = service.get("/v1/models")["models"]
            model = next(model for model in models if model["version"] == version)
            if model["state"] in wanted:
                return
            if model["state"] == "failed":
                raise NotRolledOut(f"model {version} failed, nothing changed: {model['reason']}")
            if model["state"] in ("staged", "kept"):  # nobody prepares it any more
                raise NotRolledOut(
                    f"model {version} is {model['state']}, nothing changed: another one was asked "
                    "for meanwhile, ask for this one again"
                )
            if "stage" in model:
                bar.to(model["done"], model["total"] or None, model["stage"])
            time.sleep(_POLL_SECONDS)


def _show(told: dict[str, Any]) -> None:
    """Print the models, and which trunk is not used with the active one for want of its own."""
    for model in told["models"]:
        what = "with an adapter" if model["adapter"] else "base model alone"
        if model.get("name"):
            what += f" ({model['name']})"
        since = f", in use since {model['activated_at']}" if model["state"] == "active" else ""
        reason = f" ({model['reason']})" if "reason" in model else ""
        typer.echo(f"{model['version']}  {what}: {model['state']}{reason}{since}")
    # a service of an earlier version does not tell trunks
    having = [model for model in told["models"] if model.get("trunk") and "activated_at" in model]
    if having and all(model["version"] != told["active"] for model in having):
        last = max(having, key=lambda model: model["activated_at"])
        typer.echo(
            f"trunk-{last['trunk']} was learned with model {last['version']} and is not used with "
            "this one: `pricebandit train --adopt` learns another"
        )
