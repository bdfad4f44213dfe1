{{/* Shared by the three kinds of routes: the tenant's route to an app, and a pool's route for all other tenants. */}}

{{/*
Renders one kind of route if `routing.type` selects it: (dict "context" … "type" "gateway" "template" …). The template gets
the app's context with `route`: "tenant" or "catchAll".
*/}}
{{- define "helm-tenant-chart.routes" -}}
{{- $context := .context -}}
{{- if eq $context.root.Values.routing.type .type -}}
{{- if include "helm-tenant-chart.catchesAll" $context -}}
{{- include .template (merge (dict "route" "catchAll") $context) -}}
{{- else if include "helm-tenant-chart.hasRoute" $context -}}
{{- include .template (merge (dict "route" "tenant") $context) -}}
{{- end -}}
{{- end -}}
{{- end -}}
