#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Both carriers give the same pod, and deny with the same words, for every manifest of tests/unit/injector/corpus.
#
# Needs of the runner: $KUBECTL and $HELM (commands that reach the API server; words are split), Kubernetes 1.36 or newer (skipped
# otherwise). No image, no node: everything is --dry-run=server. It installs the chart with carrier "policy" in a namespace of
# its own and takes it away again; no other release of the chart may be installed at that time.
#
# A pod made by the API server's policy is compared with what `udplane-injector patch` makes of the same manifest, sent to the same
# API server: the policy sees an injected pod and must have nothing to add, so this also proves that the two are idempotent
# together. (The webhook uses the same code as `patch`: 30-webhook.sh and tests/unit/injector.)
. "$(dirname "$0")/../../lib/case.sh"

KUBECTL=${KUBECTL:-kubectl} HELM=${HELM:-helm}
injector=$UDPLANE_BIN/deploy/injector/udplane-injector
corpus=$UDPLANE_ROOT/tests/unit/injector/corpus
namespace=udplane-agree-$$ release=agree

[[ -x $injector ]] || skip_all "$injector is not built"
$KUBECTL api-resources --api-group=admissionregistration.k8s.io -o name 2>/dev/null | grep -q ^mutatingadmissionpolicies ||
	skip_all "this API server has no MutatingAdmissionPolicy"

work=$(mktemp -d)
on_exit rm -rf "$work"

create() # MANIFEST
{
	$KUBECTL create --namespace "$namespace" --dry-run=server --output json -f - <"$1"
}

# A pod without what differs by nature: names of the moment, and the place of the token's volume, which comes between.
normal() # JSON
{
	python3 -c '
import json, sys
pod = json.load(sys.stdin)
for key in ("uid", "creationTimestamp", "managedFields"):
    pod["metadata"].pop(key, None)
print(json.dumps(pod, indent=1, sort_keys=True))' <"$1"
}

install() # VALUES-FILE...
{
	$HELM upgrade --install "$release" "$UDPLANE_ROOT/helm/udplane" --namespace "$namespace" --create-namespace \
		--set carrier=policy "${@/#/--values=}" >"$work/helm.log" 2>&1 || fail "helm: $(cat "$work/helm.log")"
	# shellcheck disable=SC2086 # a command with arguments
	wait_until 20 $KUBECTL get serviceaccount default --namespace "$namespace" || fail "no service account"
	# The first requests after a policy's change may miss it. full.yaml denies nothing that the defaults allow, hence two probes.
	wait_until 30 takes_effect "$@" || fail "the policy does not take effect"
}

takes_effect() # VALUES-FILE...
{
	create "$corpus/pods/plain.yaml" >"$work/probe" && grep -q '"udplane"' "$work/probe" || return 1
	[[ ! $* ]] || { grep -q hugepages-2Mi "$work/probe" && create "$work/selected.yaml" >/dev/null; } || return 1
	! create "$corpus/denied/port-zero.yaml" 2>/dev/null
}

uninstall()
{
	$HELM uninstall "$release" --namespace "$namespace"
	$KUBECTL delete namespace "$namespace" --wait=false
}

same_pods() # INJECTION
{
	local file bad=0 count=0
	for file in "$corpus"/pods/* "$corpus"/untouched/*.yaml; do
		[[ $file != */others.yaml && $file != */static.yaml ]] || continue
		# The API server itself takes no "\r" or null in places; both sides get the same manifest.
		create "$file" >"$work/policy.json" || fail "${file##*/}: not made"
		"$injector" patch --injection "$1" "$file" >"$work/patched" || fail "${file##*/}: not patched"
		create "$work/patched" >"$work/injector.json" || fail "${file##*/}: the patched one is not made"
		normal "$work/policy.json" >"$work/a"
		normal "$work/injector.json" >"$work/b"
		diff -u --label "policy ${file##*/}" --label "injector ${file##*/}" "$work/a" "$work/b" || bad=$((bad + 1))
		count=$((count + 1))
	done
	echo "$count pods compared"
	((bad == 0 && count > 10)) || fail "$bad of $count pods differ"
}

same_denials() # INJECTION
{
	local file expected policy webhook bad=0 count=0
	for file in "$corpus"/denied/*.yaml; do
		expected=$(sed -n '2s/^# denied: //p' "$file")
		policy=$(create "$file" 2>&1 >/dev/null) && policy="not denied"
		webhook=$("$injector" patch --injection "$1" "$file" 2>&1 >/dev/null) && webhook="not denied"
		[[ $policy == *"denied request: $expected" && $webhook == *": $expected" ]] || {
			printf '%s: expected %s\n  policy   %s\n  injector %s\n' "${file##*/}" "$expected" "$policy" "$webhook"
			bad=$((bad + 1))
		}
		count=$((count + 1))
	done
	echo "$count denials compared"
	((bad == 0 && count > 10)) || fail "$bad of $count differ"
}

injection_of() # OUT
{
	$KUBECTL get configmap "$release-udplane-injection" --namespace "$namespace" --output yaml >"$1"
}

default_values()
{
	install
	injection_of "$work/injection.yaml"
	same_pods "$work/injection.yaml"
}

default_denials() { same_denials "$work/injection.yaml"; }

everything_on()
{
	# The namespace must be one that its selector takes; ServiceMonitor, PodMonitor and PrometheusRule are kinds that are not there.
	$KUBECTL label namespace "$namespace" fast=yes env=prod --overwrite
	sed '/^serviceMonitor/d; /^podMonitor/d; /^prometheusRule/d' "$UDPLANE_ROOT/tests/helm/values/full.yaml" >"$work/full.yaml"
	sed '/^# denied/d' "$corpus/denied/host-network.yaml" >"$work/selected.yaml"
	install "$work/full.yaml"
	injection_of "$work/injection.yaml"
	same_pods "$work/injection.yaml"
	create "$work/selected.yaml" >"$work/policy.json"
	"$injector" patch --injection "$work/injection.yaml" "$work/selected.yaml" >"$work/patched"
	create "$work/patched" >"$work/injector.json"
	diff <(normal "$work/policy.json") <(normal "$work/injector.json") || fail "the pod with hostNetwork differs"
	grep -q '"path": "/run/udplane"' "$work/policy.json" || fail "no hostPath"
	! grep -q initContainers "$work/policy.json" || fail "a sidecar with hostNetwork"
}

# A pod that is there already: the annotation may change, and a warning says that only new pods get the library.
late_preload_is_noted()
{
	local text annotate=(annotate --namespace "$namespace" --overwrite pod late)
	$KUBECTL create --namespace "$namespace" -f - <<-POD >/dev/null
		apiVersion: v1
		kind: Pod
		metadata: {name: late, annotations: {udplane.io/ports: "53", udplane.io/preload: b}}
		spec:
		  nodeSelector: {nowhere: "true"}
		  containers:
		  - {name: a, image: example/a}
		  - {name: b, image: example/b}
	POD
	text=$($KUBECTL "${annotate[@]}" udplane.io/preload=b,b 2>&1)
	[[ $text != *Warning* ]] || fail "b has the library, yet: $text"
	text=$($KUBECTL "${annotate[@]}" 'udplane.io/preload=*' 2>&1)
	[[ $text == *'Warning: '*'annotation udplane.io/preload: container "a" runs without the library, which comes at a pod'"'"'s creation; annotate the template'* ]] ||
		fail "no warning: $text"
	text=$($KUBECTL "${annotate[@]}" udplane.io/preload=c 2>&1) && fail "taken: c"
	[[ $text == *'"c": no container of this pod; allowed: *, or a comma-separated list of a, b' ]] || fail "not refused: $text"
}

# The policy's budget of CEL: as many containers as one finds in no pod.
many_containers()
{
	local value count=100
	for value in '*' "$(seq -s, -f c%g "$count")"; do
		{
			printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: many, annotations: {udplane.io/ports: "53", udplane.io/preload: "%s"}}\n' "$value"
			printf 'spec:\n  containers:\n'
			seq -f '  - {name: c%g, image: example/c, env: [{name: A, value: b}, {name: LD_PRELOAD, value: /x.so}]}' "$count"
		} >"$work/many.yaml"
		create "$work/many.yaml" >"$work/many.json" || fail "not made"
		assert_equal preloaded "$count" "$(grep -c '"/run/udplane/lib/libudplane-preload.so:/x.so"' "$work/many.json")"
	done
}

unannotated_untouched()
{
	local took start=${EPOCHREALTIME/[.,]/}
	create "$corpus/untouched/unannotated.yaml" >"$work/plain.json"
	took=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
	! grep -q '"name": "udplane"' "$work/plain.json" || fail "injected"
	echo "an unannotated pod: $took ms"
}

on_exit uninstall
run_case default_values
run_case default_denials
run_case unannotated_untouched
run_case late_preload_is_noted
run_case many_containers
run_case everything_on
finish
