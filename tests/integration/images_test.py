#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/image/sbom and deploy/image/load, without building an image."""
import hashlib

from harness import *

DIR = os.path.dirname(SOCKET)
SBOM, LOAD = (os.path.join(ROOT, "deploy", "image", name) for name in ("sbom", "load"))


def make_root():
    """A file system with a library of Debian's and a program of ours; returns path inside -> content."""
    root = os.path.join(DIR, "root")
    libc_path = next(line.split()[2] for line in sh("ldd", "/bin/true").splitlines() if "libc.so" in line)
    files = {libc_path: open(libc_path, "rb").read(), "/usr/local/bin/program": b"ours"}
    for path, content in files.items():
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        with open(root + path, "wb") as f:
            f.write(content)
    return root, files


@case
def the_bill_names_every_file_and_where_it_comes_from():
    root, files = make_root()
    text = sh(SBOM, root, "udplane-sidecar", "1.2.3", cwd=ROOT)
    assert text == sh(SBOM, root, "udplane-sidecar", "1.2.3", cwd=ROOT), "not the same twice"
    bill = json.loads(text)
    assert bill["spdxVersion"] == "SPDX-2.3" and bill["SPDXID"] == "SPDXRef-DOCUMENT", bill
    packages = {p["name"]: p for p in bill["packages"]}
    assert set(packages) == {"udplane", "libc6"} and packages["udplane"]["versionInfo"] == "1.2.3", packages
    assert packages["libc6"]["versionInfo"] == sh("dpkg-query", "-W", "-f", "${Version}", "libc6"), packages["libc6"]
    assert packages["libc6"]["externalRefs"][0]["referenceLocator"].startswith("pkg:deb/debian/libc6@2."), packages["libc6"]
    assert {f["fileName"] for f in bill["files"]} == {"." + path for path in files}, bill["files"]
    for f in bill["files"]:
        sums = {s["algorithm"]: s["checksumValue"] for s in f["checksums"]}
        content = files[f["fileName"][1:]]
        assert sums == {"SHA1": hashlib.sha1(content).hexdigest(), "SHA256": hashlib.sha256(content).hexdigest()}, f
    known = [e["SPDXID"] for e in (bill, *bill["packages"], *bill["files"])]
    assert len(known) == len(set(known)), known
    for r in bill["relationships"]:
        assert {r["spdxElementId"], r["relatedSpdxElement"]} <= set(known), r
    owners = {r["relatedSpdxElement"] for r in bill["relationships"] if r["relationshipType"] == "CONTAINS"}
    assert owners == {f["SPDXID"] for f in bill["files"]}, "a file without a package"


@case
def archives_go_to_k3s_and_kind():
    folder = os.path.join(DIR, "tools")
    os.makedirs(folder, exist_ok=True)
    for name in ("k3s", "kind"):
        with open(os.path.join(folder, name), "w") as f:
            f.write(f'#!/bin/sh\necho "{name} $*" >> {folder}/calls\n')
        os.chmod(f.name, 0o755)
    archive = os.path.join(folder, "sidecar.tar")
    open(archive, "w").close()
    environment = {**os.environ, "PATH": folder + ":" + os.environ["PATH"]}

    def load(*words):
        return subprocess.run([LOAD, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    assert load("k3s", archive).returncode == 0 and load("kind", "--name", "dev", archive).returncode == 0
    with open(os.path.join(folder, "calls")) as f:
        assert f.read().splitlines() == [f"k3s ctr images import {archive}", f"kind load image-archive {archive} --name dev"]
    for words, status, text in (((), 2, "k3s"), (("minikube",), 2, "kind"), (("k3s", "/nonexistent.tar"), 1, "no such file")):
        done = load(*words)
        assert done.returncode == status and text in done.stdout, done


run()
