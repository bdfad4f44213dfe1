{{/*
Completes the values, so that every template finds every key. templates/validation/values.yaml runs it before any other
template.
*/}}

{{/* Replaces the values by a copy without nulls, in which every key of the chart exists. The copy leaves other charts' globals alone. */}}
{{- define "application-chart.completeValues" -}}
{{- $defaults := include "application-chart.defaults" . | fromYaml -}}
{{- include "application-chart.merge" (list $defaults (include "application-chart.restricted" . | fromYaml)) -}}
{{- $values := include "application-chart.restricted" . | fromYaml -}}
{{- include "application-chart.merge" (list $values .Values) -}}
{{- include "application-chart.fill" (list $values $defaults) -}}
{{- range $key, $value := $values -}}{{- $_ := set $.Values $key $value -}}{{- end -}}
{{- end -}}

{{/*
Fills a map with the defaults of the keys that it lacks, in place: (list map defaults). The values set such a key to null. A list
or a map of free keys then becomes empty, a target has no default, and every other key gets its default.
*/}}
{{- define "application-chart.fill" -}}
{{- $into := index . 0 -}}
{{- range $key, $default := index . 1 -}}
  {{- $isFree := has $key (list "resources") -}}
  {{- if hasKey $into $key -}}
    {{- if and (kindIs "map" $default) (not $isFree) (not (hasSuffix "ecurityContext" $key)) -}}{{- include "application-chart.fill" (list (get $into $key) $default) -}}{{- end -}}
  {{- else if kindIs "slice" $default -}}
    {{- $_ := set $into $key list -}}
  {{- else if $isFree -}}
    {{- $_ := set $into $key dict -}}
  {{- else if ne $key "targetCPUUtilizationPercentage" -}}
    {{- $_ := set $into $key $default -}}
  {{- end -}}
{{- end -}}
{{- end -}}
