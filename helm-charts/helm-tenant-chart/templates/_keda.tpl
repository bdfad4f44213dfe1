{{/* What KEDA's two kinds share. */}}

{{/* The queue's region: as set, else as its URL says (https://sqs.<region>.amazonaws.com/…). Empty where unknown. */}}
{{- define "tenant.queueRegion" -}}
{{- .root.Values.aws.region | default (regexReplaceAll "^https://sqs\\.([a-z0-9-]+)\\.amazonaws\\.com.*$|^.*$" .settings.keda.queueUrl "${1}") -}}
{{- end -}}
