"""Nomad for the tests: jobs, their counts, deployments, allocations and events, as far as the plugin asks for them.

Held to the recordings of a real agent, version 1.1.2, in tests/recordings/nomad-1.1: see `checks`. What it plays on
purpose is what makes that version hard: a change of a count is a deployment, which takes longer than its
allocations do to become healthy; a scaling meanwhile is refused, and carried out afterwards all the same.

Each allocation is a small HTTP server on loopback. See fake.py.
"""

import base64
import copy
import json
import socket
import uuid

from fake import Answer, Plain, Play, check, end, instance, main, pause

# Seconds after which an allocation runs, is healthy; its deployment has ended; one that is stopped counts no more,
# has ended.
RUNS, HEALTHY, DEPLOYED, UNCOUNTED, ENDED = 0.1, 0.2, 0.4, 0.05, 0.3


def refuse(status, text):
    return Answer(status, Plain(text))


class Allocation:
    def __init__(self, job, number, now, ports):
        self.id, self.job, self.number, self.born, self.stopped = str(uuid.uuid4()), job, number, now, None
        # `ports`: those of which each has to have one, or None where there are enough.
        self.server, self.ports = None, ports

    def client_status(self, now):
        if self.stopped is not None and now >= self.stopped + ENDED:
            return "complete"
        return "running" if self.has_begun(now) else "pending"

    def has_begun(self, now):
        return now >= self.born + RUNS and (self.ports is None or self.server is not None)

    def is_healthy(self, now):
        return self.has_begun(now) and now >= self.born + HEALTHY

    def settle(self, now):
        """Takes a port when there is one, and gives it back."""
        if self.server and self.client_status(now) == "complete":
            port = self.port()
            end(self.server)
            self.server = None
            if self.ports is not None:
                self.ports.append(port)
        elif self.ports and self.server is None and self.stopped is None and now >= self.born + RUNS:
            self.listen(self.ports.pop())

    def counts(self, now):
        return self.stopped is None or now < self.stopped + UNCOUNTED

    def listen(self, port):
        self.server = instance("%s-%d" % (self.job.spec["ID"], self.number), "127.0.0.1", port)

    def port(self):
        if self.server is None:
            self.listen(0)
        return self.server.server_address[1]


class Job:
    def __init__(self, spec, namespace, index):
        self.namespace, self.created, self.is_stopped = namespace, index, False
        self.allocations, self.started, self.deployment, self.refused = [], 0, None, None
        self.register(spec, index)

    def register(self, spec, index):
        self.spec = copy.deepcopy(spec)
        self.index = self.modified = index
        self.is_stopped = False
        for group in self.spec["TaskGroups"]:
            group.setdefault("Count", 1)
            group.setdefault("Update", self.spec.get("Update") or {"MaxParallel": 1})

    def group(self, name=None):
        """The group of this name, or the first one, which has the allocations."""
        return next((group for group in self.spec["TaskGroups"] if name in (None, group["Name"])), None)

    def running(self):
        """Those that shall go on running."""
        return [one for one in self.allocations if one.stopped is None]


class Nomad(Play):
    name = "nomad"

    def __init__(self, token=None):
        super().__init__(token)
        self.index = 10
        self.namespaces = {"default": "Default shared namespace"}
        self.jobs = {}
        self.ports = None
        # (index, namespace, job id), oldest first.
        self.events = []
        # Jobs of which something is still to happen.
        self.busy = set()

    # Time

    def settle(self, now):
        self.now = now
        for job in list(self.busy):
            deployment = job.deployment
            if deployment and deployment["Status"] == "running" and now >= deployment["begun"] + DEPLOYED:
                deployment["Status"] = "successful"
                if job.refused is not None:
                    # What was refused is carried out, and the count says again what it said before.
                    refused, job.refused = job.refused, None
                    self.place(job, refused)
                    job.group()["Count"] = deployment["count"]
                self.tell(job)
            for allocation in job.allocations:
                state = (allocation.client_status(now), allocation.is_healthy(now), allocation.counts(now))
                if state != getattr(allocation, "told", state):
                    self.tell(job)
                allocation.told = state
                allocation.settle(now)
            at_end = [one.client_status(now) == "complete" or one.stopped is None and one.is_healthy(now)
                      for one in job.allocations]
            if all(at_end) and (deployment is None or deployment["Status"] != "running"):
                self.busy.discard(job)

    def tell(self, job):
        self.index += 1
        self.events.append((self.index, job.namespace, job.spec["ID"]))

    def place(self, job, count):
        """Starts or stops allocations until there are so many."""
        running = job.running()
        for allocation in running[count:]:
            allocation.stopped = self.now
        for _ in range(len(running), count):
            job.allocations.append(Allocation(job, job.started, self.now, self.ports))
            job.started += 1

    def evaluate(self, job):
        """Makes true what the job says."""
        count = 0 if job.is_stopped else job.group()["Count"]
        changes = count != len(job.running())
        self.busy.add(job)
        self.place(job, count)
        if changes and count and job.group()["Update"].get("MaxParallel"):
            job.deployment = {"Status": "running", "begun": self.now, "count": count}
        self.tell(job)

    # Requests

    def ask(self, request):
        path, query, method = request.path, request.query, request.method
        if self.token and request.headers.get("x-nomad-token") != self.token:
            if path != ["v1", "status", "leader"]:
                known = "x-nomad-token" in request.headers
                return refuse(403, "ACL token not found" if known else "Permission denied")
        namespace = query.get("namespace", "default")
        key = (namespace, path[2] if len(path) > 2 else None)
        job = self.jobs.get(key)
        match path[1:]:
            case ["status", "leader"]:
                return Answer(200, "127.0.0.1:4647")
            case ["agent", "members"]:
                # The documented form: the recordings leave out what shows the machine.
                tags = {"role": "nomad", "region": "global", "dc": "dc1", "build": "1.1.2"}
                return Answer(200, {"ServerName": "a", "Members": [{"Name": "a.global", "Status": "alive", "Tags": tags}]})
            case ["namespaces"]:
                return Answer(200, [{"Name": name, "Description": text} for name, text in self.namespaces.items()])
            case ["jobs"] if method == "GET":
                stubs = [stub(job) for (there, name), job in sorted(self.jobs.items(), key=lambda one: one[0][1])
                         if there == namespace and name.startswith(query.get("prefix", ""))]
                return Answer(200, stubs, {"X-Nomad-Index": str(self.index)})
            case ["jobs"]:
                return self.register(request, namespace)
            case ["job", _, "allocations"]:
                return Answer(200, [self.allocation(one, False) for one in job.allocations] if job else [])
            case ["job", _, "deployment"]:
                deployment = job and job.deployment
                return Answer(200, {"Status": deployment["Status"]} if deployment else None)
            case ["job", name, "scale"] if method in ("POST", "PUT"):
                return self.scale(request, job, name)
            case ["job", _] if method == "DELETE":
                return self.stop(job, key, query.get("purge") == "true")
            case ["job", _, *_] if job is None:
                return refuse(404, "job not found")
            case ["job", _]:
                return Answer(200, whole(job))
            case ["job", _, "scale"] if method == "GET":
                return Answer(200, self.counts(job))
            case ["job", _, "scale"]:
                return refuse(405, "Invalid method")
            case ["allocation", id]:
                found = [one for job in self.jobs.values() for one in job.allocations if one.id == id]
                return Answer(200, self.allocation(found[0], True)) if found else refuse(404, "alloc not found")
            case ["event", "stream"]:
                return Answer(200, self.stream(namespace, int(query.get("index", "0"))))
            case ["client", "fs", "logs", id]:
                return self.logs(id, query)
        return refuse(404, "")

    def register(self, request, namespace):
        asked = request.json()
        spec = asked["Job"]
        if namespace not in self.namespaces:
            return refuse(500, 'nonexistent namespace "%s"' % namespace)
        if not spec.get("TaskGroups"):
            return refuse(500, "1 error occurred:\n\t* Missing job task groups\n\n")
        key = (namespace, spec["ID"])
        job = self.jobs.get(key)
        if asked.get("EnforceIndex"):
            index = asked.get("JobModifyIndex", 0)
            there = job.index if job else 0
            if index == 0 and job:
                return refuse(500, "Enforcing job modify index 0: job already exists")
            if index != there:
                return refuse(500, "Enforcing job modify index %d: job exists with conflicting job modify index: %d"
                              % (index, there))
        self.index += 1
        if job is None:
            job = self.jobs[key] = Job(spec, namespace, self.index)
        else:
            counts = {group["Name"]: group["Count"] for group in job.spec["TaskGroups"]}
            job.register(spec, self.index)
            if asked.get("PreserveCounts"):
                for group in job.spec["TaskGroups"]:
                    group["Count"] = counts.get(group["Name"], group["Count"])
        self.evaluate(job)
        return Answer(200, {"Index": self.index, "JobModifyIndex": job.index})

    def scale(self, request, job, name):
        try:
            asked = json.loads(request.body)
        except ValueError:
            return refuse(400, "Request body is empty" if not request.body else "invalid character")
        if not isinstance(asked.get("Target", {}), dict) or not isinstance(asked.get("Count", 0), int):
            return refuse(400, "json: wrong type")
        wanted, count = asked.get("Target", {}).get("Group"), asked.get("Count")
        if not wanted:
            return refuse(400, "missing task group name for scaling action")
        if count is not None and count < 0:
            return refuse(400, "scaling action count can't be negative")
        if count is not None and asked.get("Error"):
            return refuse(400, "scaling action should not contain count if error is true")
        if job is None:
            return refuse(404, 'job "%s" not found' % name)
        group = job.group(wanted)
        if group is None:
            return refuse(400, 'task group "%s" specified for scaling does not exist in job' % wanted)
        if count is not None:
            policy = group.get("Scaling") or {}
            if policy.get("Max") is not None and count > policy["Max"]:
                return refuse(400, "group count was greater than scaling policy maximum: %d > %d"
                              % (count, policy["Max"]))
            if job.deployment and job.deployment["Status"] == "running":
                group["Count"] = job.refused = count
                return refuse(400, "job scaling blocked due to active deployment")
            self.index += 1
            group["Count"], job.index = count, self.index
            self.evaluate(job)
        return Answer(200, {"Index": self.index, "JobModifyIndex": job.index})

    def stop(self, job, key, purge):
        if job is not None:
            job.is_stopped = True
            self.evaluate(job)
            job.index = self.index
            if purge:
                del self.jobs[key]
        return Answer(200, {"Index": self.index, "JobModifyIndex": self.index})

    def counts(self, job):
        groups = {}
        for group in job.spec["TaskGroups"]:
            there = [one for one in job.allocations if one.counts(self.now)]
            running = [one for one in there if one.client_status(self.now) == "running"]
            # Without a deployment nobody says that one is healthy.
            healthy = [one for one in running if one.is_healthy(self.now) and group["Update"].get("MaxParallel")]
            groups[group["Name"]] = {"Desired": group["Count"], "Placed": len(there), "Running": len(running),
                                     "Healthy": len(healthy), "Unhealthy": 0}
        return {"JobID": job.spec["ID"], "JobStopped": job.is_stopped, "TaskGroups": groups}

    def allocation(self, one, detailed):
        found = {
            "ID": one.id, "JobID": one.job.spec["ID"], "TaskGroup": one.job.group()["Name"], "CreateIndex": one.number,
            "ClientStatus": one.client_status(self.now), "DesiredStatus": "run" if one.stopped is None else "stop",
            "DeploymentStatus": {"Healthy": True} if one.is_healthy(self.now) else None,
        }
        if detailed:
            port = {"HostIP": "127.0.0.1", "Label": "http", "To": 0, "Value": one.port()}
            found["AllocatedResources"] = {"Shared": {"Ports": [port]}}
        return found

    def stream(self, namespace, index):
        """Events from an index on, as lines."""
        yield "{}\n"
        seen = index - 1
        while True:
            with self.lock:
                fresh = [event for event in self.events if event[0] > seen and event[1] == namespace]
            for number, _, job in fresh:
                events = [{"Topic": "Job", "Key": job, "Index": number}]
                yield json.dumps({"Index": number, "Events": events}) + "\n"
                seen = number
            pause()

    def logs(self, id, query):
        found = [one for job in self.jobs.values() for one in job.allocations if one.id == id]
        if not found:
            return refuse(404, 'Unknown allocation "%s"' % id)
        if "task" not in query:
            return refuse(400, "must provide task name")
        if query.get("type") not in ("stdout", "stderr"):
            return refuse(400, "must provide log type (stdout/stderr)")
        if query["type"] == "stderr":
            return Answer(200, Plain(""))
        data = ("up %s-%d\n" % (found[0].job.spec["ID"], found[0].number)).encode()
        frame = {"Data": base64.b64encode(data).decode(), "File": "alloc/logs/fn.stdout.0", "Offset": len(data)}
        return Answer(200, frame)

    def control(self, name, asked):
        if name == "ports":
            # From now on there are only so many, for all jobs.
            sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(asked["count"])]
            self.ports = [one.getsockname()[1] for one in sockets]
            for one in sockets:
                one.close()
            return {"ports": list(self.ports)}
        assert name == "jobs", name
        for id in asked["names"]:
            spec = function(id, asked.get("count", 0))
            self.index += 1
            job = self.jobs[("default", id)] = Job(spec, "default", self.index)
            self.evaluate(job)


# What is registered here, as the recorded client did it.
TEMPLATE = {
    "Type": "service", "Update": {"MaxParallel": 1},
    "TaskGroups": [{"Name": "fn", "Scaling": {"Min": 0, "Max": 10, "Enabled": True}, "Tasks": [{"Name": "fn"}]}],
}


def function(id, count):
    spec = copy.deepcopy(TEMPLATE)
    spec.update(ID=id, Name=id, Meta={"faas_function": id})
    spec["TaskGroups"][0]["Count"] = count
    return spec


def whole(job):
    dead = not job.running()
    return {**job.spec, "Namespace": job.namespace, "JobModifyIndex": job.index, "Stop": job.is_stopped,
            "Status": "dead" if dead else "running", "SubmitTime": 1795456642428716625}


def stub(job):
    # Without `Meta`, whatever was asked for.
    there = whole(job)
    return {key: there[key] for key in ("ID", "Name", "Namespace", "Type", "Stop", "Status", "JobModifyIndex")}


def view(request, status, body):
    """What the plugin reads."""
    if status != 200:
        # Of what the decoder complains is not compared.
        return status, "no JSON" if str(body).startswith(("json:", "invalid character")) else body
    fields = lambda one, keys: {key: one.get(key) for key in keys}
    match request.path[1:]:
        case ["jobs"] if request.method == "GET":
            return [fields(one, ("ID", "Type", "Stop", "Meta")) for one in body]
        case ["job", _, "allocations"]:
            keys = ("ClientStatus", "DesiredStatus", "TaskGroup")
            found = [{**fields(one, keys), "Healthy": (one["DeploymentStatus"] or {}).get("Healthy")} for one in body]
            return sorted(found, key=str)
        case ["job", _, "deployment"]:
            return body and body["Status"]
        case ["job", _, "scale"] if request.method == "GET":
            groups = {name: fields(group, ("Desired", "Placed", "Running", "Healthy"))
                      for name, group in body["TaskGroups"].items()}
            return body["JobStopped"], groups
        case ["job", _] if request.method == "GET":
            groups = [fields(group, ("Name", "Count")) for group in body["TaskGroups"]]
            return fields(body, ("ID", "Type", "Stop", "Status", "Meta")), groups
        case ["allocation", _]:
            return [fields(port, ("HostIP", "Label")) for port in body["AllocatedResources"]["Shared"]["Ports"]]
        case ["namespaces"]:
            return [one["Name"] for one in body]
    return status


def checks(folder):
    """Plays each scenario from the state that it began with."""
    def play(count=None, **more):
        nomad = Nomad()
        if count is not None:
            with open(folder + "/job-register.json") as file:
                recorded = {one["name"]: one["request"].get("body") for one in json.load(file)["exchanges"]}
            job = recorded["register"]["Job"]
            job["TaskGroups"][0]["Count"] = count
            nomad.register(Body({"Job": job}), "default")
            for _ in range(50):
                nomad.settle(nomad.now + 0.02)
        return nomad
    def held(play, scenario, names=None, skip=()):
        return check(play, folder, scenario, view, names, skip)
    return sum([
        held(play(), "status", ["leader"]),
        held(play(), "namespaces", ["list"]),
        held(play(0), "unknown-job"),
        held(play(0), "scale-errors"),
        held(play(0), "scale-zero-to-three-to-zero", skip=["job summary"]),
        held(play(0), "scale-blocked-by-deployment"),
        held(play(), "scale-without-deployment", ["register body", "set three", "deployment"]),
        held(play(1), "stopped-job", skip=["list"]),
        held(play(), "job-register", ["register", "get", "same again", "check index 0: must be new", "no task groups"]),
        held(play(1), "purge", skip=["allocations"]),
    ])


class Body:
    """A request that is nothing but its body."""

    def __init__(self, body):
        self.body = body

    def json(self):
        return self.body


if __name__ == "__main__":
    main(Nomad, checks)
