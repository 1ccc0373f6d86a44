#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""admissions.py NAMESPACE COUNT CONCURRENT <MANIFEST.json: dry-run creations of a pod, straight to the API server of $KUBECONFIG, so that
its own figures are measured and not kubectl's. Prints {"failed": [message...], "injected": N, "seconds": S, "median_ms": M, "p99_ms": P}.
"""
import concurrent.futures
import http.client
import json
import os
import ssl
import statistics
import sys
import threading
import time
import urllib.parse

namespace, count, concurrent_count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
manifest = sys.stdin.read()
# The kubeconfig of tests/e2e/node, a line for each thing.
config = open(os.environ["KUBECONFIG"]).read()


def word(key):
    return config.split(key + ": ")[1].split("}")[0].split(",")[0].strip('" \n')


server = urllib.parse.urlsplit(word("server"))
context = ssl.create_default_context(cafile=word("certificate-authority"))
context.load_cert_chain(word("client-certificate"), word("client-key"))
local, gate = threading.local(), threading.Barrier(concurrent_count)


def connect():
    local.connection = http.client.HTTPSConnection(server.hostname, server.port, context=context, timeout=30)
    local.connection.connect()
    gate.wait()


def one(_):
    start = time.monotonic()
    local.connection.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", manifest, {"Content-Type": "application/json"})
    answer = local.connection.getresponse()
    body = answer.read().decode()
    return answer.status, body, time.monotonic() - start


with concurrent.futures.ThreadPoolExecutor(concurrent_count, initializer=connect) as pool:
    begin = time.monotonic()
    done = list(pool.map(one, range(count)))
took = sorted(1000 * seconds for _, _, seconds in done)
print(json.dumps({
    "failed": [json.loads(body)["message"] for status, body, _ in done if status != 201],
    "injected": sum('"name":"udplane"' in body for _, body, _ in done),
    "seconds": round(time.monotonic() - begin, 3), "median_ms": round(statistics.median(took), 1),
    "p99_ms": round(took[int(len(took) * 0.99) - 1], 1)}))
