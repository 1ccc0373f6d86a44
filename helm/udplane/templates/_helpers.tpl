{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "udplane.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "udplane.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "udplane.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels of all objects. {root, component}: component is injector, node or "" */}}
{{- define "udplane.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "udplane.selector" . }}
{{- end -}}

{{/* Labels of pods of a workload: no version among them, since a new one would replace every pod, and with node mode's every udplaned. */}}
{{- define "udplane.podLabels" -}}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{ include "udplane.selector" . }}
{{- end -}}

{{- define "udplane.selector" -}}
app.kubernetes.io/name: {{ include "udplane.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* {root, image}: a digest overrides the tag, which is the chart's appVersion by default */}}
{{- define "udplane.image" -}}
{{- $name := .image.repository -}}
{{- with .image.registry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ default .root.Chart.AppVersion .image.tag }}
{{- end -}}
{{- end -}}

{{/* A probe by udplanectl, which checks that udplaned answers and is running, or is being started again. */}}
{{- define "udplane.probe" -}}
{{- merge (dict "exec" (dict "command" (list "/usr/local/bin/udplanectl" "health"))) (omit . "enabled") | toJson -}}
{{- end -}}

{{/* cpu and memory of a map of resources, as strings, in JSON */}}
{{- define "udplane.quantities" -}}
{{- $out := dict -}}
{{- range $key, $value := pick . "cpu" "memory" }}{{ $_ := set $out $key (toString $value) }}{{ end -}}
{{- toJson $out -}}
{{- end -}}

{{/* The container that serves the sidecar's counters. Like any other container it has the socket, and nothing else. */}}
{{- define "udplane.metrics" -}}
name: udplane-metrics
image: {{ include "udplane.image" (dict "root" . "image" .Values.sidecar.image) | quote }}
imagePullPolicy: {{ .Values.sidecar.image.pullPolicy }}
command: [/usr/local/bin/udplanectl, metrics, --listen, {{ .Values.sidecar.metrics.port | quote }}]
env:
- {name: UDPLANE_SOCKET, value: /run/udplane/udplane.sock}
ports:
- {name: udplane-metrics, containerPort: {{ .Values.sidecar.metrics.port }}}
resources:
  requests: {{ .Values.sidecar.metrics.resources.requests | toJson }}
  limits: {{ .Values.sidecar.metrics.resources.limits | toJson }}
securityContext:
  runAsUser: 65532
  runAsGroup: 65532
  runAsNonRoot: true
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  {{- with .Values.sidecar.seccompProfile }}
  seccompProfile: {{ toJson . }}
  {{- end }}
volumeMounts:
- {name: udplane, mountPath: /run/udplane, readOnly: true}
{{- end -}}

{{/*
Returns policy, webhook or none. auto is the policy if the API server has it in v1 (Kubernetes 1.36). For a chart that is rendered
without a cluster, as GitOps controllers do, auto depends on --api-versions; set `carrier` instead.
*/}}
{{- define "udplane.carrier" -}}
{{- if ne .Values.carrier "auto" -}}
{{- .Values.carrier -}}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
policy
{{- else -}}
webhook
{{- end -}}
{{- end -}}

{{/* Returns v1, or v1beta1 for `carrier: policy` on 1.34 and 1.35 with the feature gate */}}
{{- define "udplane.policyVersion" -}}
{{- $group := "admissionregistration.k8s.io" -}}
{{- if and (.Capabilities.APIVersions.Has (printf "%s/v1beta1/MutatingAdmissionPolicy" $group)) (not (.Capabilities.APIVersions.Has (printf "%s/v1/MutatingAdmissionPolicy" $group))) -}}
{{ $group }}/v1beta1
{{- else -}}
{{ $group }}/v1
{{- end -}}
{{- end -}}

{{- define "udplane.serviceAccount" -}}
{{- default (printf "%s-%s" (include "udplane.fullname" .root) .component) .account.name -}}
{{- end -}}

{{/* files/injection.yaml, rendered with the values */}}
{{- define "udplane.injection" -}}
{{- tpl (.Files.Get "files/injection.yaml") . -}}
{{- end -}}

{{/* The namespace selector of webhooks and policies */}}
{{- define "udplane.namespaceSelector" -}}
{{- $selector := deepCopy .Values.injection.namespaceSelector -}}
{{- with .Values.injection.excludedNamespaces -}}
{{- $expression := dict "key" "kubernetes.io/metadata.name" "operator" "NotIn" "values" . -}}
{{- $_ := set $selector "matchExpressions" (append (default list $selector.matchExpressions) $expression) -}}
{{- end -}}
{{- toJson $selector -}}
{{- end -}}

{{/*
Selects pods with a udplane.io annotation, except those that opted out and mirrors of static pods, which the kubelet would not
recognise. No other pod is sent to the webhook or evaluated by the policy.
*/}}
{{- define "udplane.matchConditions" -}}
- name: annotated
  expression: >-
    has(object.metadata.annotations) && object.metadata.annotations.exists(k, k.startsWith("udplane.io/"))
- name: not-opted-out
  expression: >-
    !("udplane.io/inject" in object.metadata.annotations) || object.metadata.annotations["udplane.io/inject"] != "false"
- name: not-static
  expression: >-
    !("kubernetes.io/config.mirror" in object.metadata.annotations)
- name: not-windows
  expression: >-
    !(has(object.spec.os) && object.spec.os.name == "windows") &&
    !(has(object.spec.nodeSelector) && object.spec.nodeSelector[?"kubernetes.io/os"].orValue("") == "windows")
{{- end -}}

{{/* On UPDATE, only changes of a udplane.io annotation are checked: a pod with a bad one must remain changeable. */}}
{{- define "udplane.matchChanged" -}}
- name: changed
  expression: >-
    request.operation == "CREATE" || object.metadata.annotations.exists(k, k.startsWith("udplane.io/") &&
    (!has(oldObject.metadata.annotations) || !(k in oldObject.metadata.annotations) ||
    oldObject.metadata.annotations[k] != object.metadata.annotations[k]))
{{- end -}}

{{/* The same, also if one is removed */}}
{{- define "udplane.matchChangedOrRemoved" -}}
- name: changed
  expression: >-
    request.operation == "CREATE" || object.metadata.annotations.exists(k, k.startsWith("udplane.io/") &&
    (!has(oldObject.metadata.annotations) || !(k in oldObject.metadata.annotations) ||
    oldObject.metadata.annotations[k] != object.metadata.annotations[k])) || has(oldObject.metadata.annotations) &&
    oldObject.metadata.annotations.exists(k, k.startsWith("udplane.io/") && !(k in object.metadata.annotations))
{{- end -}}

{{/* The values' spread, or a preferred (not required) one over nodes and zones */}}
{{- define "udplane.spread" -}}
{{- if .Values.webhook.topologySpreadConstraints -}}
{{- toYaml .Values.webhook.topologySpreadConstraints -}}
{{- else -}}
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ . }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "udplane.selector" (dict "root" $ "component" "injector") | nindent 6 }}
{{- end }}
{{- end -}}
{{- end -}}
