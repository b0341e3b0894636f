-- One kilobyte up; the upstream answers with one kilobyte.
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
