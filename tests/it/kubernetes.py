"""Kubernetes for the tests: Deployments with their pods, Services with their EndpointSlices, Secrets and Namespaces,
as far as the plugin asks for them.

Held to the recordings of a real API server, version 1.36.2, in tests/recordings/kubernetes-1.36: see `checks`. What
it plays on purpose: a status that is one generation behind the wish, pods that are made before they are ready and
terminate after they are unwanted, zeros that are left out, watches with bookmarks, pages with tokens.

Each pod is a small HTTP server: 127.0.3.N at the one port of all, which is in the facts of the server's line and has
to be the plugin's `port`. See fake.py.
"""

import base64
import copy
import json
import uuid

from fake import TICK, Answer, Plain, Play, check, end, instance, main, pause

# Seconds after which a change is noticed, the first pod is ready, one that terminates has ended; and between a pod's
# getting its address and being ready, which is when the next pod gets its own.
NOTICED, READY, ENDED, STEP = 0.05, 0.2, 0.3, 0.06

# Plural: API group and kind.
KINDS = {
    "deployments": ("apps", "Deployment"), "services": ("", "Service"), "secrets": ("", "Secret"),
    "namespaces": ("", "Namespace"), "pods": ("", "Pod"), "endpointslices": ("discovery.k8s.io", "EndpointSlice"),
}

GROUPS = {("api", "v1"): "", ("apis", "apps", "v1"): "apps", ("apis", "discovery.k8s.io", "v1"): "discovery.k8s.io"}


def status(code, reason, message, details=None):
    return Answer(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                         "reason": reason, "details": details or {}, "code": code})


def full(plural):
    group = KINDS[plural][0]
    return plural + ("." + group if group else "")


def about(plural, name):
    group = KINDS[plural][0]
    return {"name": name, **({"group": group} if group else {}), "kind": plural}


def not_found(plural, name):
    return status(404, "NotFound", '%s "%s" not found' % (full(plural), name), about(plural, name))


def merged(there, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    out = dict(there) if isinstance(there, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


class Pod:
    def __init__(self, deployment, address, ready):
        self.uid, self.ready, self.ended, self.address = str(uuid.uuid4()), ready, None, address
        self.name = "%s-%s" % (deployment, self.uid[:5])
        self.server = None

    def is_ready(self, now):
        return self.ended is None and now >= self.ready


class Kubernetes(Play):
    name = "kubernetes"

    def __init__(self, token=None):
        super().__init__(token)
        self.version = 100
        # (plural, namespace, name): object.
        self.objects = {}
        # Of a Deployment by namespace and name: its pods, and when it was changed last.
        self.pods, self.changed = {}, {}
        # Those of which something is still to happen.
        self.busy = set()
        # (version, type, object) of Deployments.
        self.events = []
        self.addresses, self.port = 0, None
        for namespace in ("fns", "default"):
            self.put("namespaces", None, namespace, {"metadata": {"annotations": {"openfaas": "1"}}})

    def facts(self):
        return {"port": self.listen("nobody", "127.0.3.250")}

    def listen(self, says, address):
        """Has somebody answer at an address; all of them have the same port."""
        server = instance(says, address, self.port or 0)
        self.port = server.server_address[1]
        return self.port

    # Objects

    def put(self, plural, namespace, name, value):
        self.version += 1
        there = self.objects.get((plural, namespace, name))
        value = copy.deepcopy(value)
        metadata = value.setdefault("metadata", {})
        metadata["name"] = name
        if namespace:
            metadata["namespace"] = namespace
        old = there["metadata"] if there else {"uid": str(uuid.uuid4()), "creationTimestamp": "2026-11-23T17:52:36Z"}
        metadata.update({key: old[key] for key in ("uid", "creationTimestamp")}, resourceVersion=str(self.version))
        if plural == "namespaces":
            metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = name
        if plural == "deployments":
            value["spec"].setdefault("replicas", there["spec"]["replicas"] if there else 1)
            is_new = there is None or there["spec"] != value["spec"]
            metadata["generation"] = (there["metadata"]["generation"] if there else 0) + is_new
            value["status"] = there["status"] if there else {}
            if is_new:
                self.changed[namespace, name] = self.now
                self.busy.add((namespace, name))
            self.pods.setdefault((namespace, name), [])
            self.events.append((self.version, "MODIFIED" if there else "ADDED", copy.deepcopy(value)))
        self.objects[plural, namespace, name] = value
        return value

    def remove(self, plural, namespace, name):
        self.version += 1
        gone = self.objects.pop((plural, namespace, name))
        if plural == "deployments":
            gone["metadata"]["resourceVersion"] = str(self.version)
            self.events.append((self.version, "DELETED", gone))
            self.busy.discard((namespace, name))
            for pod in self.pods.pop((namespace, name)):
                self.close(pod)

    def close(self, pod):
        if pod.server:
            end(pod.server)

    def settle(self, now):
        self.now = now
        for namespace, name in list(self.busy):
            pods = self.pods[namespace, name]
            there = self.objects["deployments", namespace, name]
            wish, generation = there["spec"]["replicas"], there["metadata"]["generation"]
            seen = there["status"].get("observedGeneration", 0)
            if now >= self.changed[namespace, name] + NOTICED:
                seen = generation
                kept = [pod for pod in pods if pod.ended is None]
                for pod in kept[wish:]:
                    pod.ended = now
                for number in range(wish - len(kept)):
                    self.addresses += 1
                    pod = Pod(name, "127.0.3.%d" % (1 + self.addresses % 240), now + READY + number * STEP)
                    if self.port:
                        pod.server = instance(pod.name, pod.address, self.port)
                    pods.append(pod)
            for pod in [pod for pod in pods if pod.ended is not None and now >= pod.ended + ENDED]:
                self.close(pod)
                pods.remove(pod)
            count = len([pod for pod in pods if pod.ended is None])
            ready = len([pod for pod in pods if pod.is_ready(now)])
            # Zeros are left out.
            counts = {"observedGeneration": seen, "replicas": count, "readyReplicas": ready, "availableReplicas": ready}
            counts = {key: value for key, value in counts.items() if value}
            if counts != there["status"]:
                there["status"] = counts
                self.version += 1
                there["metadata"]["resourceVersion"] = str(self.version)
                self.events.append((self.version, "MODIFIED", copy.deepcopy(there)))
            if seen == generation and len(pods) == ready:
                self.busy.discard((namespace, name))

    def derived(self, plural, namespace):
        """Pods and EndpointSlices, which follow from the rest."""
        for (plural_there, there, name), value in list(self.objects.items()):
            if there != namespace:
                continue
            if plural == "pods" and plural_there == "deployments":
                labels = value["spec"]["template"]["metadata"]["labels"]
                for pod in self.pods[there, name]:
                    yield {"metadata": {"name": pod.name, "namespace": there, "uid": pod.uid, "labels": labels,
                                        "resourceVersion": "1", "creationTimestamp": "2026-11-23T17:52:36Z"}}
            if plural == "endpointslices" and plural_there == "services":
                pods = self.pods.get((there, name), [])
                # Those that have an address.
                endpoints = [{
                    "addresses": [pod.address],
                    "conditions": {"ready": pod.is_ready(self.now), "serving": self.now >= pod.ready,
                                   "terminating": pod.ended is not None},
                    "targetRef": {"kind": "Pod", "namespace": there, "name": pod.name, "uid": pod.uid},
                } for pod in pods if self.now >= pod.ready - STEP]
                # A slice without pods says neither.
                port = value["spec"]["ports"][0]["port"]
                ports = [{"name": "http", "protocol": "TCP", "port": port}] if endpoints else None
                yield {"metadata": {"name": name + "-x", "namespace": there, "resourceVersion": "1",
                                    "labels": {"kubernetes.io/service-name": name}},
                       "addressType": "IPv4", "endpoints": endpoints or None, "ports": ports}

    # Requests

    def ask(self, request):
        path = request.path
        if self.token and request.headers.get("authorization") != "Bearer " + self.token:
            return status(401, "Unauthorized", "Unauthorized")
        if path == ["version"]:
            return Answer(200, {"gitVersion": "v1.36.2", "gitCommit": "$Format:%H$"})
        if path == ["apis", "discovery.k8s.io"]:
            return Answer(200, {"kind": "APIGroup", "versions": [{"version": "v1"}]})
        head = tuple(path[:2] if path[0] == "api" else path[:3])
        rest = path[len(head):]
        namespace = None
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural = rest[0] if rest else None
        if plural not in KINDS or GROUPS.get(head) != KINDS[plural][0]:
            return status(404, "NotFound", "the server could not find the requested resource")
        if len(rest) == 1:
            if request.method == "GET":
                if request.query.get("watch"):
                    return Answer(200, self.watch(request, namespace))
                return self.list(request, plural, namespace)
            return self.create(request, plural, namespace)
        name, sub = rest[1], rest[2:]
        if plural == "pods" and sub == ["log"]:
            found = [pod for (there, _), pods in self.pods.items() for pod in pods if (there, pod.name) == (namespace, name)]
            return Answer(200, Plain("2026-11-23T17:52:36.000000001Z up %s\n" % name)) if found else not_found(plural, name)
        there = self.objects.get((plural, namespace, name))
        if request.method == "PATCH" and not sub and "apply" in request.headers["content-type"]:
            return self.apply(request, plural, namespace, name, there)
        if there is None:
            return not_found(plural, name)
        if request.method == "DELETE":
            uid = json.loads(request.body or b"{}").get("preconditions", {}).get("uid")
            if uid not in (None, there["metadata"]["uid"]):
                return status(409, "Conflict", "the UID in the precondition does not match", about(plural, name))
            self.remove(plural, namespace, name)
            return Answer(200, {"kind": "Status", "status": "Success", "details": about(plural, name)})
        if request.method == "GET":
            return Answer(200, scale_of(there) if sub else self.shown(request, plural, there))
        patch = request.json()
        if patch.get("metadata", {}).get("resourceVersion") not in (None, there["metadata"]["resourceVersion"]):
            message = 'Operation cannot be fulfilled on %s "%s": the object has been modified' % (full(plural), name)
            return status(409, "Conflict", message, about(plural, name))
        if sub == ["scale"]:
            count = patch["spec"].get("replicas") or 0
            if count < 0:
                return status(422, "Invalid", "must be greater than or equal to 0", about(plural, name))
            patch = {"spec": {"replicas": count}}
        changed = self.put(plural, namespace, name, self.stored(plural, merged(there, patch)))
        return Answer(200, scale_of(changed) if sub else self.shown(request, plural, changed))

    def stored(self, plural, value):
        """As it is kept: texts of a Secret become its data."""
        if plural == "secrets":
            texts = value.pop("stringData", {})
            value.setdefault("data", {}).update(
                {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()})
        return value

    def create(self, request, plural, namespace):
        value = request.json()
        name = value["metadata"]["name"]
        if namespace and ("namespaces", None, namespace) not in self.objects:
            return not_found("namespaces", namespace)
        if (plural, namespace, name) in self.objects:
            return status(409, "AlreadyExists", '%s "%s" already exists' % (full(plural), name), about(plural, name))
        return Answer(201, self.shown(request, plural, self.put(plural, namespace, name, self.stored(plural, value))))

    def apply(self, request, plural, namespace, name, there):
        if "fieldManager" not in request.query:
            return status(422, "Invalid", "fieldManager: Required value: is required for apply patch",
                          {"kind": "PatchOptions"})
        value = request.json()
        if value["metadata"]["name"] != name:
            return status(400, "BadRequest", "the name of the object (%s) does not match the name on the URL (%s)"
                          % (value["metadata"]["name"], name))
        uid = value["metadata"].get("uid")
        if uid is not None and (there is None or there["metadata"]["uid"] != uid):
            return status(409, "Conflict", "uid mismatch", about(plural, name))
        # One writer is all that is played, so what is applied is all that there is.
        put = self.put(plural, namespace, name, value)
        return Answer(200 if there else 201, self.shown(request, plural, put))

    def shown(self, request, plural, value):
        if is_partial(request):
            return {"kind": "PartialObjectMetadata", "metadata": value["metadata"]}
        return {"kind": KINDS[plural][1], **value}

    def list(self, request, plural, namespace):
        if plural in ("pods", "endpointslices"):
            found = list(self.derived(plural, namespace))
        else:
            found = [value for (kind, there, _), value in sorted(self.objects.items(), key=lambda one: str(one[0]))
                     if kind == plural and there == namespace]
        found = [value for value in found if is_selected(request, value)]
        begin = int(request.query.get("continue") or 0)
        end = begin + int(request.query.get("limit") or len(found) or 1)
        metadata = {"resourceVersion": str(self.version)}
        if end < len(found):
            metadata["continue"] = str(end)
        items = [self.shown(request, plural, value) for value in found[begin:end]]
        kind = "PartialObjectMetadata" if is_partial(request) else KINDS[plural][1]
        return Answer(200, {"kind": kind + "List", "metadata": metadata, "items": items})

    def watch(self, request, namespace):
        """Changes of Deployments after a version, as lines, with a bookmark at the end."""
        seen, end = int(request.query["resourceVersion"]), self.now + int(request.query.get("timeoutSeconds", "30"))
        while True:
            with self.lock:
                fresh = [event for event in self.events if event[0] > seen]
                now, seen = self.now, max([seen] + [event[0] for event in fresh])
            for _, kind, value in fresh:
                if value["metadata"]["namespace"] == namespace and is_selected(request, value):
                    yield json.dumps({"type": kind, "object": value}) + "\n"
            if now >= end:
                metadata = {"resourceVersion": str(seen)}
                yield json.dumps({"type": "BOOKMARK", "object": {"kind": "Deployment", "metadata": metadata}}) + "\n"
                return
            pause()

    def control(self, name, asked):
        assert name == "deployments", name
        for name in asked["names"]:
            self.put("deployments", "fns", name, deployment(name, asked.get("count", 0)))
            self.put("services", "fns", name, {"spec": {"ports": [{"port": self.port}]}})


def is_partial(request):
    return "PartialObjectMetadata" in request.headers.get("accept", "")


def is_selected(request, value):
    labels = value["metadata"].get("labels", {})
    for part in filter(None, request.query.get("labelSelector", "").split(",")):
        key, _, wanted = part.partition("=")
        if key not in labels or wanted and labels[key] != wanted:
            return False
    return True


def scale_of(there):
    count = there["spec"]["replicas"]
    return {"kind": "Scale", "metadata": there["metadata"], "spec": {"replicas": count} if count else {},
            "status": {"replicas": there["status"].get("replicas", 0)}}


def deployment(name, count):
    labels = {"faas_function": name}
    container = {"name": name, "image": "example/" + name}
    return {"metadata": {"labels": dict(labels)},
            "spec": {"replicas": count, "selector": {"matchLabels": dict(labels)},
                     "template": {"metadata": {"labels": dict(labels)}, "spec": {"containers": [container]}}}}


def view(request, code, body):
    """What the plugin reads."""
    if not isinstance(body, dict):
        return code
    if body.get("kind") == "Status" and body["status"] == "Failure":
        return code, body["reason"], (body.get("details") or {}).get("name")
    if body.get("kind") == "Scale":
        return code, body["spec"].get("replicas", 0), body["status"]["replicas"]
    if body.get("kind") == "APIGroup":
        return code, [one["version"] for one in body["versions"]]
    if "gitVersion" in body:
        return code, body["gitVersion"]
    if body.get("kind", "").endswith("List"):
        return code, body["kind"], [view(request, code, one) for one in body["items"]]
    metadata = body.get("metadata", {})
    if "endpoints" in body:
        ready = [one["conditions"] for one in body["endpoints"] or []]
        # The number and the state of the addresses; the addresses themselves are the cluster's.
        return body["addressType"], sorted(map(str, ready)), bool(body["ports"])
    own = [(metadata.get("name"), metadata.get("namespace"), metadata.get("labels"))]
    if "status" in body and "selector" in body.get("spec", {}):
        counts = body.get("status") or {}
        behind = metadata["generation"] - counts.get("observedGeneration", 0)
        own += [body["spec"].get("replicas"), counts.get("availableReplicas"), behind]
    return own + [sorted(body.get("data") or [])]


def checks(folder):
    """Plays each scenario from the state that it began with."""
    def recorded(scenario, name):
        with open("%s/%s.json" % (folder, scenario)) as file:
            found = [one for one in json.load(file)["exchanges"] if one["name"] == name]
        return json.loads(found[0]["response"]["body"])

    def play(count=None):
        kubernetes = Kubernetes()
        if count is not None:
            there = recorded("scale-zero-to-three-to-zero", "deployment at zero")
            there["spec"]["replicas"] = count
            kubernetes.put("deployments", "fns", "echo", there)
            kubernetes.put("services", "fns", "echo", {"spec": {"ports": [{"port": 8080}]}})
            for _ in range(50):
                kubernetes.settle(kubernetes.now + TICK)
        return kubernetes

    def held(play, scenario, names=None, skip=()):
        return check(play, folder, scenario, view, names, skip)
    # Removed and conflicting values are the API server's own checks; PUT is never sent.
    secrets = ["create", "exists", "list", "list metadata only", "get", "patch", "delete", "gone", "delete again"]
    return sum([
        held(play(), "discovery-and-version", ["version", "discovery group"]),
        held(play(0), "scale-zero-to-three-to-zero", skip=["pods, three ready"]),
        held(play(0), "not-found"),
        held(play(), "secrets", secrets),
        held(play(), "namespaces", ["create", "exists", "get", "list by label"]),
    ])


if __name__ == "__main__":
    main(Kubernetes, checks)
