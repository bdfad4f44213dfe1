{{/*
Completes the values, so that every template finds every key. templates/validation/values.yaml runs it before any other
template.
*/}}

{{/*
Replaces the values by a copy without nulls, in which every key of the chart exists, and each app's values by its settings. The
copy leaves other charts' globals alone.
*/}}
{{- define "helm-tenant-chart.completeValues" -}}
{{- $defaults := include "helm-tenant-chart.defaults" . | fromYaml -}}
{{- $values := dict -}}
{{- include "helm-tenant-chart.merge" (list $values (omit .Values "apps" "appDefaults")) -}}
{{- include "helm-tenant-chart.fill" (list $values (omit $defaults "apps" "appDefaults")) -}}
{{- $apps := dict -}}
{{- range $app, $own := .Values.apps -}}
  {{- if not (kindIs "invalid" $own) -}}
    {{- $restricted := include "helm-tenant-chart.restricted" $ | fromYaml -}}
    {{- /* An app that the chart does not know runs here, with a route, by default. */ -}}
    {{- $ofApp := dict "enabled" true "envId" "" "ingress" (dict "enabled" true) -}}
    {{- range list $defaults.appDefaults (get $defaults.apps $app | default dict) $restricted -}}
      {{- include "helm-tenant-chart.merge" (list $ofApp .) -}}
    {{- end -}}
    {{- $settings := deepCopy $restricted -}}
    {{- range list ($.Values.appDefaults | default $defaults.appDefaults) $own -}}
      {{- include "helm-tenant-chart.merge" (list $settings .) -}}
      {{- include "helm-tenant-chart.fill" (list $settings (deepCopy $ofApp)) -}}
    {{- end -}}
    {{- $_ := set $apps $app $settings -}}
  {{- end -}}
{{- end -}}
{{- $_ := set $values "apps" $apps -}}
{{- range $key, $value := $values -}}{{- $_ := set $.Values $key $value -}}{{- end -}}
{{- end -}}

{{/*
Fills a map with the defaults of the keys that it lacks, in place: (list map defaults). The values set such a key to null. A list
or a map of free keys then becomes empty, a target has no default, and every other key gets its default.
*/}}
{{- define "helm-tenant-chart.fill" -}}
{{- $into := index . 0 -}}
{{- range $key, $default := index . 1 -}}
  {{- $isFree := has $key (list "resources" "hard" "labels") -}}
  {{- if hasKey $into $key -}}
    {{- if and (kindIs "map" $default) (not $isFree) (not (hasSuffix "ecurityContext" $key)) -}}{{- include "helm-tenant-chart.fill" (list (get $into $key) $default) -}}{{- end -}}
  {{- else if kindIs "slice" $default -}}
    {{- $_ := set $into $key list -}}
  {{- else if $isFree -}}
    {{- $_ := set $into $key dict -}}
  {{- else if ne $key "targetCPUUtilizationPercentage" -}}
    {{- $_ := set $into $key $default -}}
  {{- end -}}
{{- end -}}
{{- end -}}
