"""Acme, the platform of the README's plugin: apps, each with a number of replicas. See fake.py.

`/apps/NAME` is the plugin's business, and `/run/NAME` is the app itself.
"""

from fake import Answer, Plain, Play, main


class Acme(Play):
    name = "acme"

    def __init__(self, token=None):
        super().__init__(token)
        self.apps = {"scratch": 0}

    def ask(self, request):
        what, name = request.path
        if name not in self.apps:
            return Answer(404)
        if what == "run":
            return Answer(200, Plain("%s on Acme" % name))
        if request.method == "PUT":
            self.apps[name] = request.json()
        return Answer(200, [self.apps[name], self.apps[name]])


if __name__ == "__main__":
    main(Acme, lambda folder: 0)
