#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart without a cluster: lint, every template with every carrier, and that the schema knows every value. What a real API server
# says of it is tests/e2e's business.
. "$(dirname "$0")/../lib/case.sh"

chart=$UDPLANE_ROOT/helm/udplane full=$UDPLANE_ROOT/tests/helm/values/full.yaml
helm_version=3.22.0

# $HELM, the one in PATH, the ones that tests/e2e builds, or one made here from the Go module proxy.
find_helm()
{
	local candidate cache=${XDG_CACHE_HOME:-$HOME/.cache}
	for candidate in "${HELM-}" helm "$cache"/udplane*/bin/helm "$cache"/udplane/*/bin/helm "$cache"/k8s-node/bin/helm; do
		[[ $candidate ]] && command -v "$candidate" >/dev/null || continue
		HELM=$candidate
		return 0
	done
	command -v go >/dev/null || skip_all "no helm, and no Go to build it with"
	echo "building helm $helm_version from its Go module"
	CGO_ENABLED=0 GOBIN=$cache/udplane-helm/bin nice go install -p 2 -ldflags "-s -w" "helm.sh/helm/v3/cmd/helm@v$helm_version" >/dev/null 2>&1 ||
		skip_all "no helm, and it could not be built from its Go module (see: go install helm.sh/helm/v3/cmd/helm@v$helm_version)"
	HELM=$cache/udplane-helm/bin/helm
}

template() # ARGUMENT...
{
	"$HELM" template udplane "$chart" --kube-version 1.37.0 "$@"
}

kinds() # ARGUMENT...
{
	template "$@" | sed -n 's/^kind: //p' | sort | uniq -c | awk '{ printf "%s%s:%s", (NR > 1 ? " " : ""), $2, $1 }'
}

lint()
{
	local values
	for values in "$chart/values.yaml" "$full"; do
		"$HELM" lint --strict "$chart" --kube-version 1.37.0 --values "$values" >"$work/lint" 2>&1 || fail "$(cat "$work/lint")"
	done
}

carriers()
{
	local policy="ConfigMap:1 Deployment:1 MutatingAdmissionPolicy:2 MutatingAdmissionPolicyBinding:2 Pod:1 Service:1 ValidatingAdmissionPolicy:5 ValidatingAdmissionPolicyBinding:5"
	local webhook="ConfigMap:1 Deployment:2 MutatingWebhookConfiguration:1 NetworkPolicy:1 Pod:1 PodDisruptionBudget:1 Secret:1 Service:2 ServiceAccount:1 ValidatingAdmissionPolicy:3 ValidatingAdmissionPolicyBinding:3 ValidatingWebhookConfiguration:1"
	assert_equal policy "$policy" "$(kinds --set carrier=policy)"
	assert_equal webhook "$webhook" "$(kinds --set carrier=webhook)"
	assert_equal none "ConfigMap:1 ValidatingAdmissionPolicy:3 ValidatingAdmissionPolicyBinding:3" "$(kinds --set carrier=none)"
	assert_equal "auto, 1.36" "$policy" "$(kinds --api-versions admissionregistration.k8s.io/v1/MutatingAdmissionPolicy)"
	assert_equal "auto, before" "$webhook" "$(kinds)"
	assert_equal everything \
		"ConfigMap:2 DaemonSet:1 Deployment:3 MutatingWebhookConfiguration:1 NetworkPolicy:1 Pod:2 PodDisruptionBudget:1 PodMonitor:1 PrometheusRule:1 Secret:1 Service:3 ServiceAccount:2 ServiceMonitor:1 ValidatingAdmissionPolicy:3 ValidatingAdmissionPolicyBinding:3 ValidatingWebhookConfiguration:1" \
		"$(kinds --set carrier=webhook --values "$full")"
	template --set carrier=policy --api-versions admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy |
		grep -q 'apiVersion: admissionregistration.k8s.io/v1beta1' || fail "1.35 gets no v1beta1"
}

certificates()
{
	local webhook=(--set carrier=webhook --set) mode=webhook.certificates.mode
	assert_equal "cert-manager" 2 "$(template "${webhook[@]}" "$mode=certManager" | grep -c '^kind: \(Certificate\|Issuer\)$')"
	template "${webhook[@]}" "$mode=certManager" | grep -q 'cert-manager.io/inject-ca-from: default/udplane-injector' || fail "no CA injection"
	template "${webhook[@]}" "$mode=provided" --set webhook.certificates.secretName=mine --set webhook.certificates.caBundle=QUJD >"$work/provided"
	grep -q 'secretName: mine' "$work/provided" && grep -q 'caBundle: QUJD' "$work/provided" || fail "provided: not used"
	! grep -q '^kind: Secret$' "$work/provided" || fail "provided: a Secret of ours"
	! template "${webhook[@]}" "$mode=provided" >/dev/null 2>&1 || fail "provided without names is taken"
	command -v openssl >/dev/null || skip "no openssl to look at the generated certificate"
	template "${webhook[@]}" "$mode=generated" >"$work/generated"
	sed -n 's/^  tls.crt: //p' "$work/generated" | base64 -d | openssl x509 -noout -ext subjectAltName |
		grep -q DNS:udplane-injector.default.svc || fail "generated: not for the service's name"
}

# The chart's own documents for udplane-injector.
injection_is_current() { HELM=$HELM "$UDPLANE_ROOT/tests/helm/injection"; }

# Values as JSON, by helm itself.
values_json()
{
	mkdir -p "$work/chart/templates"
	printf 'apiVersion: v2\nname: values\nversion: 0.0.0\n' >"$work/chart/Chart.yaml"
	cp "$chart/values.yaml" "$work/chart/values.yaml"
	echo 'values: {{ .Values | toJson | quote }}' >"$work/chart/templates/values.yaml"
	"$HELM" template v "$work/chart" | sed -n 's/^values: //p' | python3 -c 'import json, sys; print(json.loads(sys.stdin.read()))'
}

# Each value given another type, and each map an unknown key, one after another: by the schema alone, in one process.
schema_knows_every_value()
{
	values_json >"$work/values.json"
	python3 - "$work/values.json" "$chart" "$work" >"$work/wrong" <<'PYTHON' || fail "$(cat "$work/wrong")"
import json, sys

values = json.load(open(sys.argv[1]))
schema = json.load(open(sys.argv[2] + "/values.schema.json"))
readme = open(sys.argv[2] + "/README.md").read()
wrong = []
count = 0

def leaf(path, value, rule):
    """A value that the schema must refuse: of a type that is none of the rule's."""
    global count
    count += 1
    if not rule:
        wrong.append(f"{path}: anything goes")
    if "`" + path + "`" not in readme:
        wrong.append(f"{path}: not in README.md")

def walk(path, value, rule):
    if rule.get("type") == "object" and "properties" in rule:
        if rule.get("additionalProperties", True) is not False:
            wrong.append(f"{path}: takes unknown keys")
        for key, inner in value.items():
            where = f"{path}.{key}" if path else key
            if key not in rule["properties"]:
                wrong.append(f"{where}: not in the schema")
            else:
                walk(where, inner, rule["properties"][key])
        for key in rule["properties"]:
            if key not in value and path.split(".")[-1] not in ("startup", "readiness", "liveness", "resources", "namespaceSelector") and key != "global":
                wrong.append(f"{path}.{key}: in the schema, not in values.yaml")
    else:
        leaf(path, value, rule)

walk("", values, schema)
print(f"{count} values", *wrong, sep="\n")
sys.exit(bool(wrong))
PYTHON
	head -1 "$work/wrong"
}

# The schema is the one that helm uses, and says no.
bad_values_are_refused()
{
	local bad count=0
	while read -r bad; do
		! template --set "$bad" >/dev/null 2>&1 || fail "taken: $bad"
		count=$((count + 1))
	done <<-'BAD'
		carrier=maybe
		nonsense=1
		sidecar.nonsense=1
		defaults.backend=dpdk
		defaults.mode=fast
		defaults.hugepages=64Mi
		hugepages.amount=63Mi
		hugepages.amount=64
		hugepages.requestOnAuto=perhaps
		vfio.resource=sriov
		sidecar.image.repository=
		sidecar.image.digest=abc
		sidecar.image.pullPolicy=Sometimes
		sidecar.capabilities.af_xdp={CAP_NET_ADMIN}
		sidecar.privileged=2
		sidecar.logLevel=chatty
		sidecar.volumeSizeLimit=big
		sidecar.resources.requests=null
		sidecar.probes.readiness.periodSeconds=0
		sidecar.startSeconds=0
		sidecar.metrics.port=0
		podMonitor.enabled=true
		injection.failurePolicy=Maybe
		injection.reinvocationPolicy=Always
		webhook.replicas=0
		webhook.port=443
		webhook.threads=0
		webhook.timeoutSeconds=31
		webhook.limits.bodyKiB=0
		webhook.limits.values=999
		webhook.limits.connections=many
		webhook.limits.connectionsPerAddress=7
		webhook.networkPolicy.enabled=maybe
		webhook.networkPolicy.from=10.0.0.0/8
		webhook.certificates.mode=magic
		webhook.certificates.duration=forever
		node.enabled=2
		node.interface=averyverylongname
		node.ports=dns
		node.hostPath=run
		serviceMonitor.interval=often
		test.port=0
		test.nodePort=0
		sidecar.guaranteed.cpu=many
		sidecar.probes.liveness.enabled=1
		injection.withoutSidecar=Perhaps
	BAD
	echo "$count bad values refused"
}

# By default both ports are open, and nothing goes out; peers that are named are the only ones.
network_policy()
{
	policy() { template --set carrier=webhook -s templates/webhook.yaml "$@" | sed -n '/^kind: NetworkPolicy/,/^---/p'; }
	policy >"$work/policy"
	grep -q 'policyTypes: \[Ingress, Egress\]' "$work/policy" && grep -q 'egress: \[\]' "$work/policy" || fail "something may go out"
	assert_equal "open ports" 2 "$(grep -c -- '- ports: ' "$work/policy")"
	assert_equal "peers" 0 "$(grep -c 'from: ' "$work/policy")"
	assert_equal "the API server's" 1 "$(policy --set 'webhook.networkPolicy.from[0].ipBlock.cidr=10.0.0.0/28' | grep -c 'from: .*10.0.0.0/28')"
	assert_equal "switched off" "" "$(policy --set webhook.networkPolicy.enabled=false)"
}

# Flags that udplane-injector has, with the numbers as it reads them.
limits_reach_the_injector()
{
	template --set carrier=webhook --set webhook.limits.values=1000000 >"$work/limits"
	grep -q -- '--max-values=1000000$' "$work/limits" && grep -q -- '--max-body-kib=4096$' "$work/limits" &&
		grep -q -- '--connections=512$' "$work/limits" && grep -q -- '--connections-per-address=256$' "$work/limits" || fail "$(grep -- '- --' "$work/limits")"
}

# The injected container and the DaemonSet must offer what Kubernetes wants of hugepages: requests as limits.
hugepages_are_limited()
{
	template --set carrier=none,hugepages.requestOnAuto=true,node.enabled=true,hugepages.amount=32Mi -s templates/node.yaml >"$work/node"
	assert_equal "requests and limits" 2 "$(grep -c 'hugepages-2Mi: 32Mi' "$work/node")"
}

# A chart that only has another version must leave the pods of its workloads alone.
a_new_chart_version_replaces_no_pods()
{
	# Generated certificates are new each time; their checksum is among the annotations.
	local provided=webhook.certificates.mode=provided,webhook.certificates.caBundle=Y2E=,webhook.certificates.secretName=x
	pods() # CHART
	{
		"$HELM" template udplane "$1" --kube-version 1.37.0 --set "carrier=webhook,node.enabled=true,$provided" \
			-s templates/node.yaml -s templates/webhook.yaml | python3 -c 'import sys, yaml
for d in yaml.safe_load_all(sys.stdin):
    if d and d["kind"] in ("Deployment", "DaemonSet"):
        print(yaml.dump(d["spec"]["template"]))'
	}
	cp -r "$chart" "$work/newer"
	sed -i 's/^version: .*/version: 99.9.9/' "$work/newer/Chart.yaml"
	pods "$chart" >"$work/pods.before"
	pods "$work/newer" >"$work/pods.after"
	assert_equal workloads 2 "$(grep -c '^metadata:' "$work/pods.before")"
	diff "$work/pods.before" "$work/pods.after" || fail "the pods would be replaced"
}

# Every metric that an alert names is one that we serve: the counters' names, and what metrics.c adds.
alerts_name_metrics_that_exist()
{
	local metric counter known=$work/known
	sed -n 's/.*UDPLANE_COUNTER([A-Z0-9_]*, *"\([a-z0-9_]*\)".*/\1/p' "$UDPLANE_ROOT"/include/udplane/counters_{worker,device}.h >"$known"
	template --set prometheusRule.enabled=true -s templates/rules.yaml >"$work/rules"
	assert_equal alerts 5 "$(grep -c 'alert: ' "$work/rules")"
	sed -n 's/ *expr: //p' "$work/rules" | grep -o 'udplane_[a-z_]*' | sort -u >"$work/metrics"
	while read -r metric; do
		counter=${metric#udplane_worker_}
		counter=${counter#udplane_device_}
		grep -qx "${counter%_total}" "$known" || grep -qr "${metric#udplane_injector_}" "$UDPLANE_ROOT"/client/ctl/metrics.c \
			"$UDPLANE_ROOT"/deploy/injector/metrics.c || fail "nobody serves $metric"
	done <"$work/metrics"
}

find_helm
work=$(mktemp -d)
on_exit rm -rf "$work"
run_case lint
run_case carriers
run_case certificates
run_case injection_is_current
run_case schema_knows_every_value
run_case bad_values_are_refused
run_case hugepages_are_limited
run_case network_policy
run_case a_new_chart_version_replaces_no_pods
run_case alerts_name_metrics_that_exist
run_case limits_reach_the_injector
finish
