{{/* Shared by the three kinds of routes: the tenant's route to an app, and a pool's route for all other tenants. */}}

{{/*
Renders one kind of route if `routing.type` selects it: (dict "context" … "type" "gateway" "template" …). The template gets
the app's context with `route`: "tenant" or "catchAll".
*/}}
{{- define "tenant.routes" -}}
{{- $context := .context -}}
{{- if eq $context.root.Values.routing.type .type -}}
{{- if include "tenant.catchesAll" $context -}}
{{- include .template (merge (dict "route" "catchAll") $context) -}}
{{- else if include "tenant.hasRoute" $context -}}
{{- include .template (merge (dict "route" "tenant") $context) -}}
{{- end -}}
{{- end -}}
{{- end -}}
