{{/* Shared templates. */}}

{{/*
The name of every object: at most 63 characters, the limit of labels and Service names. A longer name keeps its start and
ends in a hash of the whole name, so that two long names never collide.
*/}}
{{- define "application.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := .Values.fullnameOverride | default (ternary .Release.Name (printf "%s-%s" .Release.Name $chart) (contains $chart .Release.Name)) -}}
{{- include "application.name" $name -}}
{{- end -}}

{{- define "application.name" -}}
{{- if gt (len .) 63 -}}
{{- printf "%s-%s" (. | trunc 54 | trimSuffix "-") (. | sha256sum | trunc 8) -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* Merges the second map into the first, in place: maps key by key, null removes a key, any other value replaces. */}}
{{- define "application.merge" -}}
{{- $into := index . 0 -}}
{{- range $key, $value := index . 1 -}}
  {{- $old := get $into $key -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $key -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
    {{- include "application.merge" (list $old $value) -}}
  {{- else -}}
    {{- $_ := set $into $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Selector labels of the pods. A selector is immutable: no label here may depend on a version. */}}
{{- define "application.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default .Chart.Name | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of every object. The version is the image tag, with invalid characters replaced. */}}
{{- define "application.labels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- include "application.merge" (list $labels (include "application.selectorLabels" . | fromYaml)) -}}
{{- include "application.merge" (list $labels (dict
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" (regexReplaceAll "[^A-Za-z0-9_.-]" (.Values.image.tag | default .Chart.AppVersion) "_" | trunc 63 | trimAll "-_.")
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-"))) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of the pod of `helm test`. Its name differs, or the Service would select it as the app. */}}
{{- define "application.testLabels" -}}
{{- $labels := include "application.labels" . | fromYaml -}}
{{- $name := get $labels "app.kubernetes.io/name" -}}
{{- include "application.merge" (list $labels (dict
  "app.kubernetes.io/name" (include "application.name" (printf "%s-test" $name))
  "tenantry/role" "test")) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of the pods. None depends on the chart's version, or every new chart would restart every pod. */}}
{{- define "application.podLabels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- include "application.merge" (list $labels .Values.podLabels) -}}
{{- include "application.merge" (list $labels (include "application.selectorLabels" . | fromYaml)) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Name, namespace and labels of an object: (list $ extraLabels); the last is optional. */}}
{{- define "application.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := include "application.labels" $root | fromYaml -}}
{{- if gt (len .) 1 -}}{{- include "application.merge" (list $labels (index . 1)) -}}{{- end -}}
name: {{ include "application.fullname" $root }}
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- end -}}

{{/* An image's reference: (list $ image). A host at the repository's start overrides the registry. */}}
{{- define "application.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- $registry := $image.registry | default $root.Values.global.imageRegistry | default "" | trimSuffix "/" -}}
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
{{- define "application.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat ((index . 0).Values.global.imagePullSecrets | default list) (index . 1) -}}
  {{- $names = append $names (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "application.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "application.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "application.containerPort" -}}
{{- .Values.containerPort | default .Values.service.port | int -}}
{{- end -}}

{{/* The `restricted` Pod Security Standard. The image names the user. */}}
{{- define "application.podSecurityContext" -}}
{{- $context := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- include "application.merge" (list $context .) -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "application.securityContext" -}}
{{- $context := dict
  "allowPrivilegeEscalation" false
  "readOnlyRootFilesystem" true
  "capabilities" (dict "drop" (list "ALL")) -}}
{{- include "application.merge" (list $context .) -}}
{{- toYaml $context -}}
{{- end -}}

{{/* A probe, empty without a path: (list port probe). */}}
{{- define "application.probe" -}}
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
{{- define "application.topologySpreadConstraints" -}}
{{- $root := . -}}
{{- $constraints := list -}}
{{- range $key, $topology := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
  {{- with get $root.Values.topologySpread $key -}}
    {{- $constraints = append $constraints (dict
      "maxSkew" 1
      "topologyKey" $topology
      "whenUnsatisfiable" .
      "labelSelector" (dict "matchLabels" (include "application.selectorLabels" $root | fromYaml))
      "matchLabelKeys" (list "pod-template-hash")) -}}
  {{- end -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* A Gateway API duration in milliseconds. */}}
{{- define "application.milliseconds" -}}
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
{{- define "application.forbiddenWithin" -}}
{{- $length := splitList "/" . | last | int -}}
{{- $forbidden := ternary (list "fd00:ec2::/32" "fe80::/10") (list "169.254.0.0/16") (contains ":" .) -}}
{{- $held := list -}}
{{- $size := 1 -}}
{{- range until (max 0 (sub 32 $length) | int) -}}{{- $size = mul $size 2 -}}{{- end -}}
{{- $start := div (include "application.first32Bits" . | int64) $size -}}
{{- range $forbidden -}}
  {{- $isShorter := lt $length (splitList "/" . | last | int) -}}
  {{- if and $isShorter (eq $start (div (include "application.first32Bits" . | int64) $size)) -}}
    {{- $held = append $held . -}}
  {{- end -}}
{{- end -}}
{{- toYaml $held -}}
{{- end -}}

{{/* The first 32 bits of a range's address as a number: four bytes of IPv4, two groups of IPv6. */}}
{{- define "application.first32Bits" -}}
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
