{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{/*
CEL of the policies: data and operations of files/injection.yaml as CEL, and the checks of annotations with the texts of
sidecar/config. For an annotation that is long or contains control characters the wording may differ, but never the verdict.
*/}}

{{/* Converts any JSON value to a CEL literal. Maps of mixed types need dyn(). */}}
{{- define "udplane.cel.value" -}}
{{- if kindIs "map" . -}}
{{- $items := list -}}
{{- range $key, $value := . }}{{ $items = append $items (printf "%s: dyn(%s)" (toJson $key) (include "udplane.cel.value" $value)) }}{{ end -}}
{ {{- join ", " $items -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list -}}
{{- range . }}{{ $items = append $items (printf "dyn(%s)" (include "udplane.cel.value" .)) }}{{ end -}}
[ {{- join ", " $items -}} ]
{{- else if kindIs "float64" . -}}
{{- int64 . -}}
{{- else if and (kindIs "string" .) (eq (toString .) "$(first)") -}}
object.spec.containers[0].name
{{- else if and (kindIs "string" .) (hasPrefix "$(" .) -}}
variables.{{ trimPrefix "$(" . | trimSuffix ")" }}
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end -}}

{{/* Converts a JSON pointer of the template to the CEL selection that finds it: "$(container)/env" becomes c.env */}}
{{- define "udplane.cel.field" -}}
{{- . | replace "$(container)/" "c." | replace "/spec/" "object.spec." -}}
{{- end -}}

{{/* One condition of an operation, then all of them */}}
{{- define "udplane.cel.name" -}}
{{- if eq . "sidecar" }}!variables.node
{{- else if eq . "preload" }}{{ include "udplane.cel.selected" "c" }}
{{- else if eq . "not-preload" }}!{{ include "udplane.cel.selected" "c" }}
{{- else if has . (list "image" "cpu_request" "cpu_limit" "memory_request" "memory_limit") }}variables.{{ . }} != ""
{{- else if hasPrefix "not-" . }}!variables.{{ trimPrefix "not-" . }}
{{- else }}variables.{{ . }}
{{- end -}}
{{- end -}}

{{/* Whether udplane.io/preload selects the container . */}}
{{- define "udplane.cel.selected" -}}
("*" in variables.preload || {{ . }}.name in variables.preload)
{{- end -}}

{{/* {at, name}: whether the container has the variable; its last one, which is the one that counts; and the value of that */}}
{{- define "udplane.cel.hasVariable" -}}
has({{ .at }}.env) && {{ .at }}.env.exists(x, x.name == {{ toJson .name }})
{{- end -}}

{{- define "udplane.cel.index" -}}
{{ .at }}.env.map(x, x.name).lastIndexOf({{ toJson .name }})
{{- end -}}

{{- define "udplane.cel.variable" -}}
{{ .at }}.env[{{ include "udplane.cel.index" . }}]
{{- end -}}

{{/* {at, name, file}: whether the variable's list, separated by colons or spaces, has the file in any folder */}}
{{- define "udplane.cel.listed" -}}
{{ include "udplane.cel.variable" . }}.?value.orValue("").replace(" ", ":").split(":").exists(f, ("/" + f).endsWith({{ printf "/%s" (base .file) | toJson }}))
{{- end -}}

{{- define "udplane.cel.conditions" -}}
{{- $all := list -}}
{{- range index . "if" }}{{ $all = append $all (include "udplane.cel.name" .) }}{{ end -}}
{{- with .absent -}}
{{- if hasPrefix "/metadata/annotations/" . -}}
{{- $key := trimPrefix "/metadata/annotations/" . | replace "~1" "/" | replace "~0" "~" -}}
{{- $all = append $all (printf "!(%s in object.metadata.annotations)" (toJson $key)) -}}
{{- else -}}
{{- $all = append $all (printf "!has(%s)" (include "udplane.cel.field" .)) -}}
{{- end -}}
{{- end -}}
{{- with .prepend -}}
{{- $variable := dict "at" "c" "name" . "file" $.value -}}
{{- $all = append $all (include "udplane.cel.hasVariable" $variable) -}}
{{- $all = append $all (printf "!has(%s.valueFrom)" (include "udplane.cel.variable" $variable)) -}}
{{- $all = append $all (printf "!%s" (include "udplane.cel.listed" $variable)) -}}
{{- end -}}
{{- with .missing -}}
{{- $list := include "udplane.cel.field" (index . "in") -}}
{{- $all = append $all (printf "!(has(%s) && %s.exists(x, x.%s == %s))" $list $list .key (toJson .is)) -}}
{{- end -}}
{{- join " && " $all | default "true" -}}
{{- end -}}

{{/* {op, at}: at is the CEL expression for "$(container)" */}}
{{- define "udplane.cel.patch" -}}
{{- if .op.prepend -}}
{{- $variable := dict "at" "c" "name" .op.prepend -}}
{{- $old := printf "%s.?value.orValue(\"\")" (include "udplane.cel.variable" $variable) -}}
JSONPatch{op: "add", path: {{ .at }} + "/env/" + string({{ include "udplane.cel.index" $variable }}) + "/value", value: {{ toJson .op.value }} + ({{ $old }} == "" ? "" : ":" + {{ $old }})}
{{- else -}}
{{- $path := toJson .op.path -}}
{{- with .at }}{{ $path = $path | replace "\"$(container)" (printf "%s + \"" .) }}{{ end -}}
{{- $path = $path | replace "$(resource)\"" "\" + jsonpatch.escapeKey(variables.resource)" -}}
JSONPatch{op: "add", path: {{ $path }}, value: {{ include "udplane.cel.value" .op.value }}}
{{- end -}}
{{- end -}}

{{/* All operations in order, one list per operation. Every condition sees the pod as it was received. */}}
{{- define "udplane.cel.operations" -}}
{{- $lists := list -}}
{{- range .operations -}}
{{- $if := include "udplane.cel.conditions" . -}}
{{- if eq (default "" .each) "container" -}}
{{- range list "containers" "initContainers" -}}
{{- $at := printf "\"/spec/%s/\" + string(i)" . -}}
{{- $of := ternary "object.spec.containers" "variables.initContainers" (eq . "containers") -}}
{{- $native := ternary "" (printf "!(c.name in variables.sidecars) && (has(c.restartPolicy) && c.restartPolicy == \"Always\" || %s) && " (include "udplane.cel.selected" "c")) (eq . "containers") -}}
{{- $lists = append $lists (printf "%s.transformList(i, c, %s%s,\n  %s)" $of $native $if "@PATCH@") -}}
{{- end -}}
{{- $n := len $lists -}}
{{- $of1 := index $lists (sub $n 2 | int) | replace "@PATCH@" (include "udplane.cel.patch" (dict "op" . "at" "\"/spec/containers/\" + string(i)")) -}}
{{- $of2 := index $lists (sub $n 1 | int) | replace "@PATCH@" (include "udplane.cel.patch" (dict "op" . "at" "\"/spec/initContainers/\" + string(i)")) -}}
{{- $lists = concat (slice $lists 0 (sub $n 2 | int)) (list $of1 $of2) -}}
{{- else -}}
{{- $lists = append $lists (printf "(%s ?\n  [%s] : [])" $if (include "udplane.cel.patch" (dict "op" . "at" ""))) -}}
{{- end -}}
{{- end -}}
{{- join " +\n" $lists -}}
{{- end -}}

{{/* ---- checks --------------------------------------------------------------------------------------------------- */}}

{{/* An annotation's value, "" if absent; then a text in quotes, cut and escaped as in sidecar/config */}}
{{- define "udplane.cel.annotation" -}}
variables.annotations[?"udplane.io/{{ . }}"].orValue("")
{{- end -}}

{{- define "udplane.cel.quote" -}}
{{- $escape := ".replace(\"\\\\\", \"\\\\\\\\\").replace(\"\\\"\", \"\\\\\\\"\").replace(\"\\t\", \"\\\\x09\").replace(\"\\n\", \"\\\\x0a\").replace(\"\\r\", \"\\\\x0d\")" -}}
"\"" + (size({{ .text }}) > {{ .max }} ? {{ .text }}.substring(0, {{ .max }}){{ $escape }} + {{ .more }} : {{ .text }}{{ $escape }}) + "\""
{{- end -}}

{{/* {text, low, high}: what is wrong with a number, "" if nothing */}}
{{- define "udplane.cel.number" -}}
(!{{ .text }}.matches("^[0-9]+$") ? "not a whole number" : size({{ .text }}) > 1 && {{ .text }}.startsWith("0") ? "leading zero" : size({{ .text }}) > 18 ? "too large" : int({{ .text }}) < {{ .low }} || int({{ .text }}) > {{ .high }} ? "out of range" : "")
{{- end -}}

{{/* {text, low, high}: what is wrong with each item of a list */}}
{{- define "udplane.cel.list" -}}
{{- $number := dict "text" "item" "low" .low "high" .high -}}
{{- $first := "item.substring(0, item.indexOf(\"-\"))" -}}
{{- $last := "item.substring(item.indexOf(\"-\") + 1)" -}}
{{- $low := include "udplane.cel.number" (merge (dict "text" $first) $number) -}}
{{- $high := include "udplane.cel.number" (merge (dict "text" $last) $number) -}}
{{ .text }}.split(",").map(raw, raw.trim()).map(item,
item == "" ? "empty item" :
!item.contains("-") ? {{ include "udplane.cel.number" $number }} :
item.startsWith("-") || item.indexOf("-") == size(item) - 1 ? "range with an end missing" :
{{ $low }} != "" ? {{ $low }} :
{{ $high }} != "" ? {{ $high }} :
int({{ $first }}) > int({{ $last }}) ? "range runs backwards" : "")
{{- end -}}

{{/* {text, wrong}: what is wrong with a list's first bad item, which the reason names unless it is the whole text */}}
{{- define "udplane.cel.listReason" -}}
!{{ .text }}.contains(",") ? ({{ .text }}.trim() == "" ? "empty" : {{ .wrong }}[0]) :
{{ .wrong }}.transformList(i, w, w != "", "item " + string(i + 1) + " " +
{{ include "udplane.cel.quote" (dict "text" (printf "%s.split(\",\")[i].trim()" .text) "max" 24 "more" "\"\"") }} + ": " + w)[0]
{{- end -}}

{{/*
{name, suffix}: cpu or memory: the sidecar's request and limit, "" for none; what is wrong with the annotation. A Guaranteed pod has
request = limit. The regular expression is that of deploy/injector/resources.c.
*/}}
{{- define "udplane.cel.resource" -}}
{{- $parts := printf "variables.%s_given.split(\"/\")" .name -}}
{{- $default := dict "request" (get .defaults.requests .name | default "") "limit" (get .defaults.limits .name | default "") -}}
- name: {{ .name }}_given
  expression: {{ include "udplane.cel.annotation" .name }}
- name: {{ .name }}_wrong
  expression: >-
    size({{ $parts }}) > 2 || !{{ $parts }}.all(q, q.matches({{ .pattern | toJson }})) ? "not a quantity" :
    {{ $parts }}.exists(q, !quantity(q).isGreaterThan(quantity("0"))) ? "zero" :
    size({{ $parts }}) == 2 && quantity({{ $parts }}[0]).compareTo(quantity({{ $parts }}[1])) > 0 ? "request above limit" : ""
- name: {{ .name }}_limit
  expression: >-
    variables.{{ .name }}_given != "" ? (size({{ $parts }}) > 1 || variables.guaranteed || {{ .always }} ? {{ $parts }}[size({{ $parts }}) - 1] : "") :
    variables.pod_resources ? "" : variables.guaranteed ? {{ get .defaults.guaranteed .name | toJson }} : {{ toJson $default.limit }}
- name: {{ .name }}_request
  expression: >-
    variables.guaranteed && !variables.pod_resources || variables.guaranteed && variables.{{ .name }}_given != "" ? variables.{{ .name }}_limit :
    variables.{{ .name }}_given != "" ? {{ $parts }}[0] : variables.pod_resources && !({{ .always }} && variables.hugepages) ? "" : {{ toJson $default.request }}
{{ end -}}

{{/* Variables that all policies share; they need variables.annotations and variables.spec. The template's defaults are in . */}}
{{- define "udplane.cel.variables" -}}
- name: node
  expression: has(variables.spec.hostNetwork) && variables.spec.hostNetwork
- name: initContainers
  expression: "has(variables.spec.initContainers) ? variables.spec.initContainers : []"
- name: backend
  expression: variables.annotations[?"udplane.io/backend"].orValue({{ toJson .defaults.backend }})
- name: hugepages
  expression: variables.annotations[?"udplane.io/hugepages"].orValue({{ toJson .defaults.hugepages }}) in {{ toJson .hugepages }}
- name: resource
  expression: >-
    {{ include "udplane.cel.annotation" "resource" }} != "" ? {{ include "udplane.cel.annotation" "resource" }} :
    variables.backend == "vfio" ? {{ toJson .defaults.resource }} : ""
- name: af_xdp
  expression: variables.backend in ["auto", "af_xdp"]
- name: vfio
  expression: variables.backend in ["auto", "vfio"] && variables.resource != ""
- name: ports
  expression: {{ include "udplane.cel.annotation" "ports" }}
- name: portsWrong
  expression: |-
    {{- include "udplane.cel.list" (dict "text" "variables.ports" "low" 1 "high" 65535) | nindent 4 }}
- name: cpus
  expression: {{ include "udplane.cel.annotation" "cpus" }}
- name: cpusWrong
  expression: |-
    {{- printf "variables.cpus in [\"\", \"own\"] ? [] : %s" (include "udplane.cel.list" (dict "text" "variables.cpus" "low" 0 "high" 1023)) | nindent 4 }}
- name: interface
  expression: {{ include "udplane.cel.annotation" "interface" }}
- name: preload
  expression: {{ include "udplane.cel.annotation" "preload" }}.split(",").map(raw, raw.trim())
- name: sidecars
  expression: '["udplane", "udplane-metrics"]'
- name: own
  expression: variables.spec.containers + variables.initContainers.filter(c, !(c.name in variables.sidecars))
- name: guaranteed
  expression: >-
    variables.own.all(c, ["cpu", "memory"].all(r, has(c.resources) && has(c.resources.limits) && r in c.resources.limits &&
    quantity(string(c.resources.limits[r])).isGreaterThan(quantity("0")) && (!has(c.resources.requests) || !(r in c.resources.requests) ||
    quantity(string(c.resources.requests[r])).compareTo(quantity(string(c.resources.limits[r]))) == 0)))
- name: pod_resources
  expression: >-
    has(variables.spec.resources) && (has(variables.spec.resources.requests) && variables.spec.resources.requests.exists(r, r in ["cpu", "memory"]) ||
    has(variables.spec.resources.limits) && variables.spec.resources.limits.exists(r, r in ["cpu", "memory"]))
- name: image
  expression: {{ include "udplane.cel.annotation" "image" }}
{{ include "udplane.cel.resource" (dict "name" "cpu" "defaults" .defaults "always" "false" "pattern" "^[0-9]{1,9}([.][0-9]{1,3}|m)?$") }}
{{- include "udplane.cel.resource" (dict "name" "memory" "defaults" .defaults "always" "true" "pattern" "^[0-9]{1,9}([.][0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$") -}}
- name: preloadWrong
  expression: >-
    variables.preload.map(item, item == "" ? "empty item" : item == "*" || variables.own.exists(c, c.name == item) ? "" :
    "no container of this pod")
- name: unknown
  expression: >-
    variables.annotations.filter(k, k.startsWith("udplane.io/") &&
    !(k.substring(11) in {{ list "ports" "backend" "interface" "resource" "cpus" "hugepages" "mode" "preload" "inject" "cpu" "memory" "workers" "frames" "image" "log-level" | toJson }}))
{{- end -}}

{{/*
The checks, in the order of deploy/injector/check.c, as a JSON list of {valid, message}. All of them are evaluated, so a check
that depends on an earlier one must repeat its condition.
*/}}
{{- define "udplane.cel.checks" -}}
{{- $checks := list -}}
{{- $checks = append $checks (dict "valid" "size(variables.unknown) == 0" "message" "\"annotation \" + variables.unknown.min() + \": unknown; allowed: ports, backend, interface, resource, cpus, hugepages, mode, preload, inject, cpu, memory, workers, frames, image, log-level\"") -}}
{{- $checks = append $checks (dict "valid" "\"udplane.io/ports\" in variables.annotations" "message" "\"annotation udplane.io/ports: missing, and other udplane.io annotations mean nothing without it; allowed: ports 1-65535 and ranges LOW-HIGH, comma-separated\"") -}}
{{- range $name := list "ports" "backend" "interface" "resource" "cpus" "hugepages" "mode" "preload" "inject" "cpu" "memory" "workers" "frames" "image" "log-level" -}}
{{- $value := include "udplane.cel.annotation" $name -}}
{{- $given := printf "\"udplane.io/%s\" in variables.annotations" $name -}}
{{- $quoted := include "udplane.cel.quote" (dict "text" $value "max" 70 "more" "\"...\"") -}}
{{- $valid := "" -}}{{- $reason := "" -}}{{- $allowed := "" -}}{{- $more := "" -}}
{{- if eq $name "ports" -}}
{{- $valid = "variables.portsWrong.all(w, w == \"\")" -}}
{{- $reason = include "udplane.cel.listReason" (dict "text" "variables.ports" "wrong" "variables.portsWrong") -}}
{{- $allowed = "ports 1-65535 and ranges LOW-HIGH, comma-separated" -}}
{{- else if eq $name "cpus" -}}
{{- $valid = "variables.cpusWrong.all(w, w == \"\")" -}}
{{- $reason = include "udplane.cel.listReason" (dict "text" "variables.cpus" "wrong" "variables.cpusWrong") -}}
{{- $allowed = "own, or CPU numbers 0-1023 and ranges LOW-HIGH, comma-separated" -}}
{{- else if eq $name "interface" -}}
{{- $valid = printf "%s.matches(\"^[^\\\\x00-\\\\x20\\\\x7f/:]{0,15}$\") && !(%s in [\".\", \"..\"])" $value $value -}}
{{- $reason = printf "size(%s) > 15 ? \"too long\" : %s in [\".\", \"..\"] ? \"not an interface name\" : %s.matches(\"[/:]\") ? \"contains '/' or ':'\" : \"contains whitespace or control characters\"" $value $value $value -}}
{{- $allowed = "an interface name of 1..15 characters" -}}
{{- else if eq $name "preload" -}}
{{- $valid = printf "size(%s) <= 16384 && variables.preloadWrong.all(w, w == \"\")" $value -}}
{{- $reason = printf "size(%s) > 16384 ? \"too long\" : %s" $value (include "udplane.cel.listReason" (dict "text" $value "wrong" "variables.preloadWrong")) -}}
{{- $allowed = "*, or a comma-separated list of " -}}
{{- $more = " + variables.own.transformList(i, c, i <= 8, i == 8 ? \"...\" : c.name).join(\", \")" -}}
{{- else if eq $name "resource" -}}
{{- $valid = printf "%s == \"\" || size(%s) <= 255 && %s.matches(\"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$\")" $value $value $value -}}
{{- $reason = printf "size(%s) > 255 ? \"too long\" : %s.matches(\"[\\\\x00-\\\\x20\\\\x7f]\") ? \"contains whitespace or control characters\" : \"not DOMAIN/NAME\"" $value $value -}}
{{- $allowed = "a resource name such as intel.com/sriov, at most 255 characters" -}}
{{- else if has $name (list "cpu" "memory") -}}
{{- $valid = printf "variables.%s_wrong == \"\"" $name -}}
{{- $reason = printf "variables.%s_wrong" $name -}}
{{- $allowed = ternary "CPUs such as 500m, or REQUEST/LIMIT such as 100m/2" "bytes such as 512Mi, or REQUEST/LIMIT such as 128Mi/512Mi" (eq $name "cpu") -}}
{{- else if eq $name "workers" -}}
{{- $reason = include "udplane.cel.number" (dict "text" $value "low" 1 "high" 16) -}}
{{- $valid = printf "%s == \"\"" $reason -}}
{{- $allowed = "a whole number 1..16" -}}
{{- else if eq $name "frames" -}}
{{- $number := include "udplane.cel.number" (dict "text" $value "low" 1024 "high" 1048576) -}}
{{- $power := printf "int(%s) in [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576]" $value -}}
{{- $valid = printf "%s == \"\" && %s" $number $power -}}
{{- $reason = printf "%s != \"\" ? %s : \"not a power of two\"" $number $number -}}
{{- $allowed = "a power of two 1024..1048576" -}}
{{- else if eq $name "image" -}}
{{- $valid = printf "%s != \"\" && size(%s) <= 255 && !%s.matches(\"[\\\\x00-\\\\x20\\\\x7f]\")" $value $value $value -}}
{{- $reason = printf "%s == \"\" ? \"empty\" : size(%s) > 255 ? \"too long\" : \"contains whitespace or control characters\"" $value $value -}}
{{- $allowed = "an image such as registry.example/udplane/sidecar:1.0, at most 255 characters" -}}
{{- else -}}
{{- $choices := get (dict "log-level" (list "error" "warn" "info" "debug") "backend" (list "auto" "vfio" "af_xdp" "kernel") "hugepages" (list "auto" "required" "off") "mode" (list "latency" "balanced" "powersave") "inject" (list "true" "false")) $name -}}
{{- $valid = printf "variables.annotations[%s] in %s" (printf "udplane.io/%s" $name | toJson) (toJson $choices) -}}
{{- $reason = "\"unknown value\"" -}}
{{- $allowed = join ", " $choices -}}
{{- end -}}
{{- $checks = append $checks (dict "valid" (printf "!(%s) || (%s)" $given $valid) "message" (printf "\"annotation udplane.io/%s: \" + %s + \": \" + (%s) + %s%s" $name $quoted $reason (printf "; allowed: %s" $allowed | toJson) $more)) -}}
{{- if eq $name "preload" -}}
{{- $variable := dict "at" "c" "name" "LD_PRELOAD" -}}
{{- $reference := printf "%s && %s && has(%s.valueFrom)" (include "udplane.cel.selected" "c") (include "udplane.cel.hasVariable" $variable) (include "udplane.cel.variable" $variable) -}}
{{- $message := printf "\"annotation udplane.io/preload: \" + %s + \": container \\\"\" + variables.own.filter(c, %s)[0].name + \"\\\" takes LD_PRELOAD from elsewhere (valueFrom), so the library cannot be put in front of it; allowed: containers that set it by value, or not at all\"" $quoted $reference -}}
{{- $checks = append $checks (dict "valid" (printf "!(%s) || !variables.own.exists(c, %s)" $given $reference) "message" $message) -}}
{{- end -}}
{{- end -}}
{{- $checks = append $checks (dict "valid" "variables.node || variables.backend != \"vfio\" || variables.resource != \"\"" "message" "\"annotation udplane.io/backend: \\\"vfio\\\": no device; allowed: with annotation udplane.io/resource naming a device-plugin resource, such as intel.com/sriov\"") -}}
{{- /* Names that the sidecar takes. */}}
{{- $ours := "(has(c.restartPolicy) && c.restartPolicy == \"Always\" && has(c.volumeMounts) && c.volumeMounts.exists(m, m.name == \"udplane\" && m.mountPath == \"/run/udplane\"))" -}}
{{- $taken := "the sidecar takes this name; allowed: any other name" -}}
{{- $checks = append $checks (dict "valid" "variables.node || !variables.spec.containers.exists(c, c.name in variables.sidecars)" "message" (printf "\"container \\\"\" + variables.spec.containers.filter(c, c.name in variables.sidecars)[0].name + %s" (printf "\": %s" $taken | toJson))) -}}
{{- $checks = append $checks (dict "valid" (printf "variables.node || !variables.initContainers.exists(c, c.name in variables.sidecars && !%s)" $ours) "message" (printf "\"init container \\\"\" + variables.initContainers.filter(c, c.name in variables.sidecars && !%s)[0].name + %s" $ours (printf "\": %s" $taken | toJson))) -}}
{{- $foreign := "(v.name == \"udplane\" && !(variables.node ? has(v.hostPath) : has(v.emptyDir)) || !variables.node && (v.name == \"udplane-annotations\" && !has(v.downwardAPI) || v.name == \"udplane-tun\" && !has(v.hostPath)))" -}}
{{- $checks = append $checks (dict "valid" (printf "!has(variables.spec.volumes) || !variables.spec.volumes.exists(v, %s)" $foreign) "message" (printf "\"volume \\\"\" + variables.spec.volumes.filter(v, %s)[0].name + %s" $foreign (printf "\": %s" $taken | toJson))) -}}
{{- if not .node -}}
{{- $checks = append $checks (dict "valid" "!variables.node" "message" "\"annotation udplane.io/ports: the pod has hostNetwork, and the nodes run no udplaned; allowed: with the chart's value node.enabled=true, or annotation udplane.io/inject: \\\"false\\\"\"") -}}
{{- end -}}
{{- $ranges := list -}}
{{- range splitList "," .nodePorts }}{{ $ends := splitList "-" (trim .) }}{{ $ranges = append $ranges (list (first $ends | int) (last $ends | int)) }}{{ end -}}
{{- $outside := printf "!%s.exists(r, int(item.split(\"-\")[0]) >= r[0] && int(item.split(\"-\")[size(item.split(\"-\")) - 1]) <= r[1])" (toJson $ranges) -}}
{{- $items := "variables.ports.split(\",\").map(raw, raw.trim())" -}}
{{- $checks = append $checks (dict "valid" (printf "!variables.node || variables.portsWrong.exists(w, w != \"\") || !%s.exists(item, %s)" $items $outside) "message" (printf "\"annotation udplane.io/ports: \" + %s.filter(item, %s)[0] + %s" $items $outside (printf ": not among the ports that the nodes divert; allowed: within one of %s (the chart's value node.ports)" .nodePorts | toJson))) -}}
{{- toJson $checks -}}
{{- end -}}

{{/* The variables on which "udplane.cel.variables" builds, for a pod */}}
{{- define "udplane.cel.podVariables" -}}
- name: annotations
  expression: object.metadata.annotations
- name: spec
  expression: object.spec
{{- end -}}
