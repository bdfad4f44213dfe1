{{/* Shared templates. */}}

{{/*
The name of every object: at most 63 characters, the limit of labels and Service names. A longer name keeps its start and
ends in a hash of the whole name, so that two long names never collide.
*/}}
{{- define "application-chart.fullname" -}}
{{- $chart := include "application-chart.chart" . -}}
{{- $isNamed := or (eq $chart .Release.Name) (and (not (contains "/charts/" .Template.BasePath)) (contains $chart .Release.Name)) -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $chart) $isNamed) -}}
{{- include "application-chart.name" $name -}}
{{- end -}}

{{/*
The chart's name in names and labels. In a parent chart it is the dependency's alias, which may have capitals, underscores and
dashes at its ends. Such an alias is mapped to a DNS label and gets a hash of the alias, so that two aliases never collide. Two
aliases may be parts of one release's name, so there only an equal name is left out.
*/}}
{{- define "application-chart.chart" -}}
{{- $alias := .Values.nameOverride | default .Chart.Name -}}
{{- $name := $alias | lower | replace "_" "-" | trimAll "-" -}}
{{- if ne $name $alias -}}
  {{- $name = printf "%s-%s" ($name | trunc 54 | trimSuffix "-" | default "app") ($alias | sha256sum | trunc 8) -}}
{{- end -}}
{{- include "application-chart.name" $name -}}
{{- end -}}

{{- define "application-chart.name" -}}
{{- if gt (len .) 63 -}}
{{- printf "%s-%s" (. | trunc 54 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* Merges the second map into the first, in place: maps key by key, null removes a key, any other value replaces. */}}
{{- define "application-chart.merge" -}}
{{- $into := index . 0 -}}
{{- range $key, $value := index . 1 -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $key -}}
  {{- else if kindIs "map" $value -}}
    {{- if not (kindIs "map" (get $into $key)) -}}{{- $_ := set $into $key dict -}}{{- end -}}
    {{- include "application-chart.merge" (list (get $into $key) $value) -}}
  {{- else -}}
    {{- $_ := set $into $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Selector labels of the pods. A selector is immutable: no label here may depend on a version. */}}
{{- define "application-chart.selectorLabels" -}}
app.kubernetes.io/name: {{ include "application-chart.chart" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of every object. The version is the image tag, with invalid characters replaced. */}}
{{- define "application-chart.labels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- include "application-chart.merge" (list $labels (include "application-chart.selectorLabels" . | fromYaml)) -}}
{{- include "application-chart.merge" (list $labels (dict
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" (regexReplaceAll "[^A-Za-z0-9_.-]" (.Values.image.tag | default .Chart.AppVersion) "_" | trunc 63 | trimAll "-_.")
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_."))) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of the pod of `helm test`. Its name differs, or the Service would select it as the app. */}}
{{- define "application-chart.testLabels" -}}
{{- $labels := include "application-chart.labels" . | fromYaml -}}
{{- $name := get $labels "app.kubernetes.io/name" -}}
{{- include "application-chart.merge" (list $labels (dict
  "app.kubernetes.io/name" (include "application-chart.name" (printf "%s-test" $name))
  "tenantry/role" "test")) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of the pods. None depends on the chart's version, or every new chart would restart every pod. */}}
{{- define "application-chart.podLabels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- include "application-chart.merge" (list $labels .Values.podLabels) -}}
{{- include "application-chart.merge" (list $labels (include "application-chart.selectorLabels" . | fromYaml)) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Name, namespace and labels of an object: (list $ extraLabels); the last is optional. */}}
{{- define "application-chart.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := include "application-chart.labels" $root | fromYaml -}}
{{- if gt (len .) 1 -}}{{- include "application-chart.merge" (list $labels (index . 1)) -}}{{- end -}}
name: {{ include "application-chart.fullname" $root | quote }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- end -}}

{{/* An image's reference: (list $ image). A host at the repository's start overrides the registry. */}}
{{- define "application-chart.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- $registry := $image.registry | default $root.Values.global.imageRegistry -}}
{{- $first := splitList "/" $repository | first -}}
{{- $hasHost := and (contains "/" $repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- if and $registry (not $hasHost) -}}
  {{- $repository = printf "%s/%s" $registry $repository -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Pull secrets as a list without repetition: (list $ ownSecrets). Global secrets may be names or maps. */}}
{{- define "application-chart.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (index . 0).Values.global.imagePullSecrets (index . 1) -}}
  {{- $names = append $names (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "application-chart.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "application-chart.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "application-chart.containerPort" -}}
{{- .Values.containerPort | default .Values.service.port | int -}}
{{- end -}}

{{/* The `restricted` Pod Security Standard. The image names the user. */}}
{{- define "application-chart.restricted" -}}
podSecurityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{/* A probe, empty without a path: (list port probe). */}}
{{- define "application-chart.probe" -}}
{{- $port := index . 0 -}}{{- $probe := index . 1 -}}
{{- if $probe.path -}}
httpGet:
  path: {{ $probe.path | quote }}
  port: {{ if kindIs "string" $port }}{{ $port }}{{ else }}{{ int $port }}{{ end }}
periodSeconds: {{ int $probe.periodSeconds }}
failureThreshold: {{ int $probe.failureThreshold }}
timeoutSeconds: 2
{{- end -}}
{{- end -}}

{{/* Spread over zones and nodes. `matchLabelKeys` counts the pods of one rollout only: the old pods would skew the new ones. */}}
{{- define "application-chart.topologySpreadConstraints" -}}
{{- $root := . -}}
{{- $constraints := list -}}
{{- range $key, $topology := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
  {{- with get $root.Values.topologySpread $key -}}
    {{- $constraints = append $constraints (dict
      "maxSkew" 1
      "topologyKey" $topology
      "whenUnsatisfiable" .
      "labelSelector" (dict "matchLabels" (include "application-chart.selectorLabels" $root | fromYaml))
      "matchLabelKeys" (list "pod-template-hash")) -}}
  {{- end -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* A Gateway API duration in milliseconds. */}}
{{- define "application-chart.milliseconds" -}}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
  {{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/*
Lists the parts of an address range that no pod may reach: link-local addresses and, for IPv6, Amazon's fd00:ec2::/32. Both
contain instance metadata (169.254.169.254, fd00:ec2::254), which serves the node's role. A range contains another if its
prefix is shorter and both are equal over its length. The first 32 bits decide that.
*/}}
{{- define "application-chart.forbiddenWithin" -}}
{{- $length := splitList "/" . | last | int -}}
{{- $forbidden := ternary (list "fd00:ec2::/32" "fe80::/10") (list "169.254.0.0/16") (contains ":" .) -}}
{{- $held := list -}}
{{- $size := 1 -}}
{{- range until (max 0 (sub 32 $length) | int) -}}{{- $size = mul $size 2 -}}{{- end -}}
{{- $start := div (include "application-chart.first32Bits" . | int64) $size -}}
{{- range $forbidden -}}
  {{- $isShorter := lt $length (splitList "/" . | last | int) -}}
  {{- if and $isShorter (eq $start (div (include "application-chart.first32Bits" . | int64) $size)) -}}
    {{- $held = append $held . -}}
  {{- end -}}
{{- end -}}
{{- toYaml $held -}}
{{- end -}}

{{/* The first 32 bits of a range's address as a number: four bytes of IPv4, two groups of IPv6. */}}
{{- define "application-chart.first32Bits" -}}
{{- $address := splitList "/" . | first -}}
{{- $number := 0 -}}
{{- if contains ":" $address -}}
  {{- $groups := concat (splitList "::" $address | first | splitList ":" | compact) (list "0" "0") -}}
  {{- range slice $groups 0 2 -}}{{- $number = add (mul $number 65536) (printf "0x%s" . | int64) -}}{{- end -}}
{{- else -}}
  {{- range splitList "." $address -}}{{- $number = add (mul $number 256) (int64 .) -}}{{- end -}}
{{- end -}}
{{- $number -}}
{{- end -}}

{{/*
Refuses a list with two equal entries, because the API server refuses them, or keeps one: (list path key entries). Entries are
maps that must differ in the key, or texts if the key is empty.
*/}}
{{- define "application-chart.unique" -}}
{{- $path := index . 0 -}}{{- $key := index . 1 -}}
{{- $seen := list -}}
{{- range index . 2 -}}
  {{- $name := . -}}
  {{- if $key -}}{{- $name = get . $key -}}{{- end -}}
  {{- if has $name $seen -}}
    {{- fail (printf "%s names %q twice: remove one of the two entries" $path $name) -}}
  {{- end -}}
  {{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}

{{/*
Refuses a route's parents that Gateway API refuses: (list path parentRefs). A parent is a group, kind, namespace, name, section and
port. Of two references to one object, both or neither must name a section.
*/}}
{{- define "application-chart.validateParents" -}}
{{- $path := index . 0 -}}
{{- $parents := list -}}
{{- $hasSection := dict -}}
{{- range index . 1 -}}
  {{- $group := ternary .group "gateway.networking.k8s.io" (hasKey . "group") -}}
  {{- $parent := printf "%s %s" (.kind | default "Gateway") .name -}}
  {{- with .namespace -}}{{- $parent = printf "%s in %s" $parent . -}}{{- end -}}
  {{- if ne $group "gateway.networking.k8s.io" -}}{{- $parent = printf "%s of group '%s'" $parent $group -}}{{- end -}}
  {{- $isSection := not (empty .sectionName) -}}
  {{- if ne (get $hasSection $parent | default $isSection | toString) (toString $isSection) -}}
    {{- fail (printf "%s names %q with and without sectionName, and Gateway API refuses that: set sectionName in both entries, or remove one" $path $parent) -}}
  {{- end -}}
  {{- $_ := set $hasSection $parent (toString $isSection) -}}
  {{- with .sectionName -}}{{- $parent = printf "%s, section %s" $parent . -}}{{- end -}}
  {{- with .port -}}{{- $parent = printf "%s, port %d" $parent (int .) -}}{{- end -}}
  {{- $parents = append $parents $parent -}}
{{- end -}}
{{- include "application-chart.unique" (list $path "" $parents) -}}
{{- end -}}
