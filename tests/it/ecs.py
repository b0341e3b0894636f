"""Amazon ECS for the tests: moto's server, and a layer before it that plays what moto has not.

moto is somebody else's implementation of AWS. Its services have no tasks and run at once, so the layer answers
ListTasks and DescribeTasks itself, from moto's own counts, and lets a service become ready after some looks. It also
cuts ListServices into pages, which moto answers whole. All else goes to moto byte for byte, with the fields as they
came, so that moto checks the signatures of the gateway.

A task is a small HTTP server of its own: task N of a service is 127.0.1.N at the one port of all, after the tasks
were replaced E times 127.0.1.(N + 10 E).

    python ecs.py [--auth]

With --auth moto checks signatures and policies. The key of `scaler` may do what the first policy of the plugin's
README allows, that of `gateway` what all of them do, and that of `reader` may look at services; moto compares actions
and no resources. Prints `ecs on http://HOST:PORT {json}`; ends with its standard input. Paths that begin with /_ are for
the test:

    GET  /_log           the operations that came, in their order
    POST /_slow          {"polls": N}: services that grow are ready after N looks
    POST /_fail          {"operation": ..., "status": ..., "type": ..., "times": N}
    POST /_services      {"names": [...], "function": bool}: services made by somebody else
    POST /_recycle       {"service": ...}: its tasks are replaced by others at other addresses; the old addresses
                         still answer, as those of somebody else
"""

import argparse
import json
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

for name, value in (("AWS_ACCESS_KEY_ID", "setup"), ("AWS_SECRET_ACCESS_KEY", "setup"), ("AWS_DEFAULT_REGION", "eu-west-1")):
    os.environ[name] = value
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"

import boto3
import moto.settings
from moto.server import ThreadedMotoServer

README = os.path.join(os.path.dirname(__file__), "../../plugins/ecs/README.md")
TARGET = "AmazonEC2ContainerServiceV20141113."
CLUSTER = "functions"
UNSIGNED = (
    "AWS4-HMAC-SHA256 Credential=nobody/20260101/eu-west-1/ecs/aws4_request, SignedHeaders=host, Signature=none"
)


def policies():
    """The actions of each policy in the README."""
    with open(README) as file:
        blocks = re.findall(r"```json\n(.*?)```", file.read(), re.DOTALL)
    found = []
    for block in blocks:
        actions = [statement["Action"] for statement in json.loads(block)["Statement"]]
        found.append([name for some in actions for name in ([some] if isinstance(some, str) else some)])
    assert len(found) == 2, found
    return found


class Task(BaseHTTPRequestHandler):
    """Says which task answered; the word count of a body beside it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        words = "%s %d" % (self.server.server_address[0], len(body.split()))
        self.send_response(200)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words.encode())

    do_GET = do_POST = answer

    def log_message(self, *args):
        pass


def page(key, arns, asked):
    """The part of a list that is asked for; ECS has ten on a page where nobody says how many."""
    first = int(asked.get("nextToken", "0"))
    end = first + asked.get("maxResults", 10)
    return {key: arns[first:end], **({"nextToken": str(end)} if end < len(arns) else {})}


class World:
    """What the layer knows beside moto; one lock guards it."""

    def __init__(self, moto_address):
        self.moto = moto_address
        self.lock = threading.Lock()
        self.log = []
        self.failures = []
        self.polls = 0
        # By service: looks that are left until it is ready.
        self.left = {}
        # By service: how often its tasks were replaced.
        self.edition = {}
        self.servers = {}
        self.port = None

    def client(self, service):
        return boto3.client(service, endpoint_url=self.moto)

    def serve(self, number):
        """The address of task `number`; its server is started when it is first asked for."""
        address = "127.0.1.%d" % number
        if address not in self.servers:
            server = ThreadingHTTPServer((address, self.port or 0), Task)
            self.port = server.server_address[1]
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.servers[address] = server
        return address

    def failure(self, operation):
        for failure in self.failures:
            if failure["operation"] == operation:
                failure["times"] -= 1
                if failure["times"] == 0:
                    self.failures.remove(failure)
                return failure
        return None

    def look(self, answer):
        """Lets the services of a DescribeServices run late."""
        for service in answer.get("services", []):
            # moto counts nothing of a service that was made and never updated.
            service["runningCount"] = service["desiredCount"]
            left = self.left.get(service["serviceName"], 0)
            if left > 0:
                self.left[service["serviceName"]] = left - 1
                service["pendingCount"] = service["desiredCount"]
                service["runningCount"] = 0
        return answer

    def tasks(self, cluster, name, count):
        arn = "arn:aws:ecs:eu-west-1:123456789012:task/%s/%s-%d-" % (cluster, name, self.edition.get(name, 0))
        return [arn + str(number) for number in range(1, count + 1)]

    def described(self, arns):
        tasks = []
        for arn in arns:
            name, edition, number = arn.rsplit("/", 1)[1].rsplit("-", 2)
            details = [{"name": "privateIPv4Address", "value": self.serve(int(number) + 10 * int(edition))}]
            tasks.append({
                "taskArn": arn, "group": "service:" + name, "desiredStatus": "RUNNING", "healthStatus": "UNKNOWN",
                "lastStatus": "PENDING" if self.left.get(name, 0) > 0 else "RUNNING",
                "attachments": [{"type": "ElasticNetworkInterface", "status": "ATTACHED", "details": details}],
                "containers": [{"name": name, "lastStatus": "RUNNING", "networkInterfaces": []}],
            })
        return {"tasks": tasks, "failures": []}


class Layer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def world(self):
        return self.server.world

    def log_message(self, *args):
        pass

    def answer(self, status, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def forward(self, body):
        """Sends the request on as it is, `host` included, which is part of what is signed."""
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        # Without checks moto still reads there which of all its services is asked.
        if "Authorization" not in self.headers:
            headers["Authorization"] = UNSIGNED
        request = urllib.request.Request(self.world.moto + self.path, data=body, headers=headers, method=self.command)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def do_GET(self):
        assert self.path == "/_log", self.path
        with self.world.lock:
            self.answer(200, self.world.log)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_"):
            with self.world.lock:
                return self.answer(200, self.control(json.loads(body)) or {})
        operation = self.headers.get("X-Amz-Target", "").replace(TARGET, "", 1)
        asked = json.loads(body)
        with self.world.lock:
            self.world.log.append({"operation": operation, "body": asked})
            failure = self.world.failure(operation)
        if failure:
            return self.answer(failure["status"], {"__type": failure["type"], "message": "as the test wished"})
        if operation in ("ListTasks", "DescribeTasks"):
            return self.tasks(operation, asked, body)
        status, answer = self.forward(body)
        with self.world.lock:
            if status == 200 and operation in ("UpdateService", "CreateService") and asked.get("desiredCount"):
                self.world.left[asked.get("service") or asked["serviceName"]] = self.world.polls
            if status == 200 and operation == "DescribeServices":
                answer = json.dumps(self.world.look(json.loads(answer))).encode()
            if status == 200 and operation == "ListServices":
                answer = json.dumps(page("serviceArns", json.loads(answer)["serviceArns"], asked)).encode()
        self.answer(status, answer)

    def tasks(self, operation, asked, body):
        # moto has none, but it says whether the caller may ask.
        status, answer = self.forward(body)
        if status != 200 and b"AccessDenied" in answer:
            return self.answer(status, answer)
        with self.world.lock:
            if operation == "DescribeTasks":
                return self.answer(200, self.world.described(asked["tasks"]))
            name, cluster = asked["serviceName"], asked["cluster"]
            found = self.world.client("ecs").describe_services(cluster=cluster, services=[name])["services"]
            count = found[0]["desiredCount"] if found else 0
            arns = self.world.tasks(cluster, name, count)
            # In pages of two, so that whoever reads only the first one is found out.
            self.answer(200, page("taskArns", arns, {**asked, "maxResults": 2}))

    def control(self, asked):
        world = self.world
        if self.path == "/_slow":
            world.polls = asked["polls"]
        elif self.path == "/_fail":
            world.failures.append(asked)
        elif self.path == "/_recycle":
            world.edition[asked["service"]] = world.edition.get(asked["service"], 0) + 1
        elif self.path == "/_services":
            ecs = world.client("ecs")
            for name in asked["names"]:
                container = {"name": name, "image": "example/" + name, "memory": 64}
                ecs.register_task_definition(family=name, containerDefinitions=[container])
                tags = [{"key": "wicketgate.function", "value": name}] if asked["function"] else []
                ecs.create_service(cluster=CLUSTER, serviceName=name, taskDefinition=name, desiredCount=0, tags=tags)
        else:
            raise ValueError(self.path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--auth", action="store_true")
    arguments = parser.parse_args()
    moto_server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto_server.start()
    world = World("http://%s:%d" % moto_server.get_host_and_port())
    world.serve(1)
    world.client("ecs").create_cluster(clusterName=CLUSTER)
    ec2 = world.client("ec2")
    facts = {
        "subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
        "groups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]],
        "port": world.port,
    }
    if arguments.auth:
        keys = {}
        scale, manage = policies()
        looks = ["ecs:ListServices", "ecs:DescribeServices"]
        for user, operations in (("gateway", scale + manage), ("scaler", scale), ("reader", looks)):
            iam = world.client("iam")
            iam.create_user(UserName=user)
            statement = {"Effect": "Allow", "Action": operations, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=user, PolicyName="functions", PolicyDocument=policy)
            keys[user] = iam.create_access_key(UserName=user)["AccessKey"]
            facts[user] = {"key": keys[user]["AccessKeyId"], "secret": keys[user]["SecretAccessKey"]}
        key = keys["gateway"]
        # From here on, by everybody: what the layer itself asks moto is signed with the same key.
        os.environ.update(AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"])
        boto3.DEFAULT_SESSION = None
        moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    layer = ThreadingHTTPServer(("127.0.0.1", 0), Layer)
    layer.world = world
    threading.Thread(target=layer.serve_forever, daemon=True).start()
    print("ecs on http://127.0.0.1:%d %s" % (layer.server_address[1], json.dumps(facts)), flush=True)
    sys.stdin.read()


main()
