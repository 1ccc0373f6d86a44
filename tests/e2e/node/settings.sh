# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by the scripts in this folder: where a node's programs and its state are, and which versions.

: "${UDPLANE_K8S_VERSION:=1.37.2}"   # 1.34 or newer
containerd_version=2.3.7
helm_version=3.22.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/udplane/k8s-$UDPLANE_K8S_VERSION
state=${UDPLANE_NODE_STATE:-$cache/state}   # while a node is up; on a real disk, for overlayfs
node_name=udplane-node
node_ip=10.99.0.1 pod_net=10.88.0.0/16 service_net=10.96.0.0/16
cgroup=udplane-e2e                          # everything of the kubelet is below it

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

minor_version()
{
	local rest=${UDPLANE_K8S_VERSION#1.}
	echo "${rest%%.*}"
}
