{{/* Shared by KEDA's ScaledObject and TriggerAuthentication. */}}

{{/* The queue's region: `aws.region`, else from its URL (https://sqs.<region>.amazonaws.com/…). Empty if unknown. */}}
{{- define "helm-tenant-chart.queueRegion" -}}
{{- .root.Values.aws.region | default (regexReplaceAll "^https://sqs\\.([a-z0-9-]+)\\.amazonaws\\.com.*$|^.*$" .settings.keda.queueUrl "${1}") -}}
{{- end -}}
