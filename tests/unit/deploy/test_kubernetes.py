"""The manifests: valid for Kubernetes, with settings, routes, ports and apps that exist."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes.__main__ import App, apps, manifest
from servers.workers import STOP_SECONDS
from streams.security.secret import Secret
from streams.settings import URLS, Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
OLDEST = "1.29"
"""The oldest version of Kubernetes that the manifests are for."""
OF_THE_IMAGE = {"APP", "PORT", "POD_NAME", "POD_NAMESPACE"}
"""What the entrypoint and the arguments use, and no worker reads."""
APPS = apps((ROOT / "Procfile").read_text("utf-8"))
FILES = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
HEALTH = (ROOT / "streams" / "web" / "health.py").read_text("utf-8")


def settings() -> set[str]:
    """The names of all settings that a worker reads."""
    hints = get_type_hints(Settings, include_extras=True)
    files = {f"{name.upper()}_FILE" for name, hint in hints.items() if hint is Secret or name in URLS}
    return {name.upper() for name in hints} | files | {"CHECKOUT_DEADLINE"}


def documents(file: Path) -> list[dict[str, Any]]:
    """The objects of a file."""
    return list(yaml.safe_load_all(file.read_text("utf-8")))


ALL = [(file.name, document) for file in FILES for document in documents(file)]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and specification of each template of pods."""
    for _, document in ALL:
        if document["kind"] in ("StatefulSet", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_manifests_are_valid(version: str) -> None:
    """Each object fits the schema of its kind, with no field that this does not know. Those of apps are alike."""
    for name, document in ALL:
        if name in ("products.yaml", "users.yaml", "checkout.yaml", "timers.yaml"):
            continue
        kubernetes_validate.validate(document, version, strict=True)
    broken = {**documents(FOLDER / "orders.yaml")[2], "spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_every_app_has_its_manifest_as_the_template_has_it() -> None:
    """Who has changed the template has run `python -m deploy.kubernetes`."""
    template = (FOLDER / "worker.yaml.in").read_text("utf-8")
    assert 6 == len(APPS)
    for app in APPS:
        assert manifest(app, template) == (FOLDER / f"{app.name}.yaml").read_text("utf-8"), app.name
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text("utf-8"))["resources"]
    assert {file.name for file in FILES} - {"setup.yaml"} == set(listed)


def test_apps_and_ports_are_those_of_the_procfile() -> None:
    """Each app exists, listens on its port, and is reached there."""
    found = {}
    for name, pod in pods():
        for container in containers(pod):
            env = {entry["name"]: entry.get("value") for entry in container["env"]}
            assert importlib.util.find_spec(env["APP"] or "") is not None
            if name != "setup":
                [port] = container["ports"]
                found[name] = App(name, str(env["APP"]), port["containerPort"])
                assert str(port["containerPort"]) == env["PORT"]
    assert {app.name: app for app in APPS} == found
    assert {app.module for app in APPS} == {
        entry["value"]
        for name, pod in pods()
        if name == "setup"
        for container in containers(pod)
        for entry in container["env"]
        if entry["name"] == "APP"
    }


def test_every_variable_is_a_setting() -> None:
    """A name that no worker reads would have no effect, and nobody would notice."""
    [shared] = [document["data"] for _, document in ALL if document["kind"] == "ConfigMap"]
    used = set(shared)
    for _, pod in pods():
        used |= {entry["name"] for container in containers(pod) for entry in container["env"]}
    assert set() == used - settings() - OF_THE_IMAGE
    Settings.from_environment({name: value for name, value in shared.items() if not name.endswith("_FILE")})


def test_secrets_are_files() -> None:
    """No secret is in an environment, and each file is where the Secrets are."""
    secret = {name.upper() for name, hint in get_type_hints(Settings).items() if hint is Secret or name in URLS}
    [shared] = [document["data"] for _, document in ALL if document["kind"] == "ConfigMap"]
    for name, pod in pods():
        [place] = {
            mount["mountPath"]
            for container in containers(pod)
            for mount in container["volumeMounts"]
            if mount["name"] == "secrets"
        }
        for container in containers(pod):
            env = {**shared, **{entry["name"]: entry.get("value") for entry in container["env"]}}
            assert not secret & set(env), name
            files = [value for setting, value in env.items() if setting.endswith("_FILE")]
            assert files
            assert all(str(file).startswith(f"{place}/") for file in files), name


def test_probes_ask_routes_that_exist() -> None:
    """Whether it lives, and whether it serves, at the port of the worker; with TLS, as its settings say."""
    routes = set(re.findall(r'@app\.page\("([^"]+)"\)', HEALTH))
    for name, pod in pods():
        for container in pod["containers"]:
            probes = {kind: probe["httpGet"] for kind, probe in container.items() if kind.endswith("Probe")}
            if name == "setup":
                continue
            assert {"startupProbe", "livenessProbe", "readinessProbe"} == set(probes)
            assert {probe["path"] for probe in probes.values()} == routes
            assert {("web", "HTTPS")} == {(probe["port"], probe["scheme"]) for probe in probes.values()}
            assert "/health/ready" == probes["readinessProbe"]["path"]


def test_pods_are_confined_and_have_time_to_end() -> None:
    """Not root, nothing written beside the volumes, and no kill before a worker has ended by itself."""
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        assert not pod["enableServiceLinks"]
        for container in containers(pod):
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert not rights["allowPrivilegeEscalation"]
            assert ["ALL"] == rights["capabilities"]["drop"]
            assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        if name != "setup":
            [worker] = pod["containers"]
            before = float(worker["lifecycle"]["preStop"]["exec"]["command"][1])
            assert pod["terminationGracePeriodSeconds"] >= STOP_SECONDS + before + 10
            assert "/data" in {mount["mountPath"] for mount in worker["volumeMounts"]}


def test_labels_select_the_workers_of_an_app() -> None:
    """Service, budget and set of an app mean the same pods, and the address of queries means the read side."""
    kinds: dict[str, dict[str, Any]] = {}
    for _, document in ALL:
        kinds.setdefault(document["metadata"]["name"], {})[document["kind"]] = document.get("spec", {})
    for app in APPS:
        found = kinds[app.name]
        labels = found["StatefulSet"]["template"]["metadata"]["labels"]
        selected = [found[kind]["selector"]["matchLabels"] for kind in ("StatefulSet", "PodDisruptionBudget")]
        assert [labels, labels, labels] == [*selected, found["Service"]["selector"]]
        assert 1 == found["PodDisruptionBudget"]["maxUnavailable"]
        assert app.name == found["StatefulSet"]["serviceName"]
    assert kinds["projections"]["Service"]["selector"] == kinds["shop"]["Service"]["selector"]
