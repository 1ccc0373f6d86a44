# SPDX-License-Identifier: Apache-2.0
"""The repositories that Debian's bazel-bootstrap 4.2.3 looks for when it starts, without the internet."""

def local_rule_repositories():
    """Declares them for Bazel 4 (Debian's calls itself 4.x or "no_version"); newer releases bring their own."""
    version = native.bazel_version
    if version and version[0].isdigit() and not version.startswith("4."):
        return

    # From the Debian packages bazel-rules-java, bazel-rules-proto, bazel-platforms and bazel-skylib.
    for name, path in {
        "bazel_skylib": "/usr/share/bazel/tools/skylib",
        "platforms": "/usr/share/bazel/tools/platforms",
        "rules_java": "/usr/share/bazel/rules/java",
        "rules_proto": "/usr/share/bazel/rules/proto",
    }.items():
        native.local_repository(name = name, path = path)

    # Debian's bazel-rules-cc is too new for 4.2.3; coverage tools are not packaged.
    for name in ["rules_cc", "remote_coverage_tools"]:
        native.local_repository(name = name, path = "third_party/bazel/" + name)
