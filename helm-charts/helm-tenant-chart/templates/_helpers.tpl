{{/*
Shared templates. An app's templates get one context: `root` (Helm's own context), `app` (its name), `settings` (its
values, merged over appDefaults), `name` (<tenantId>-<app>), `namespace` (of its objects) and `environment` (the tenant, or
the pool that serves the app).
*/}}

{{/*
Joins parts to a name of at most 63 characters, the limit of labels and Service names. A longer name keeps its start and
ends in a hash of the whole name, so that two long names never collide.
*/}}
{{- define "helm-tenant-chart.name" -}}
{{- $name := join "-" . -}}
{{- if gt (len $name) 63 -}}
{{- printf "%s-%s" ($name | trunc 54 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Merges the second map into the first, in place: maps key by key, null removes a key, any other value replaces. */}}
{{- define "helm-tenant-chart.merge" -}}
{{- $into := index . 0 -}}
{{- range $key, $value := index . 1 -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $key -}}
  {{- else if kindIs "map" $value -}}
    {{- if not (kindIs "map" (get $into $key)) -}}{{- $_ := set $into $key dict -}}{{- end -}}
    {{- include "helm-tenant-chart.merge" (list (get $into $key) $value) -}}
  {{- else -}}
    {{- $_ := set $into $key $value -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Renders a template once per app, as separate documents: (list $ "template"). */}}
{{- define "helm-tenant-chart.eachApp" -}}
{{- $root := index . 0 -}}
{{- $template := index . 1 -}}
{{- range $app := keys $root.Values.apps | sortAlpha -}}
{{- $context := dict "root" $root "app" $app -}}
{{- include "helm-tenant-chart.fillContext" $context -}}
{{- with include $template $context | trim }}
---
{{ . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Completes an app's context that has `root` and `app`. */}}
{{- define "helm-tenant-chart.fillContext" -}}
{{- $tenantId := .root.Values.tenantId -}}
{{- $settings := get .root.Values.apps .app -}}
{{- $environment := ternary $tenantId $settings.envId $settings.enabled -}}
{{- $_ := set . "settings" $settings -}}
{{- $_ := set . "name" (include "helm-tenant-chart.name" (list $tenantId .app)) -}}
{{- $_ := set . "environment" $environment -}}
{{- $_ := set . "namespace" $environment -}}
{{- end -}}

{{/* "true" if at least one app runs in this release: only then has the namespace pods to isolate, limit or monitor. */}}
{{- define "helm-tenant-chart.runsApps" -}}
{{- range $app := keys .Values.apps -}}
{{- $context := dict "root" $ "app" $app -}}
{{- include "helm-tenant-chart.fillContext" $context -}}
{{- if $context.settings.enabled -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where the release runs an app or asks for a route to one. What offboarding leaves of a tenant does neither. */}}
{{- define "helm-tenant-chart.isServed" -}}
{{- range $app := keys .Values.apps -}}
{{- $context := dict "root" $ "app" $app -}}
{{- include "helm-tenant-chart.fillContext" $context -}}
{{- if or $context.settings.enabled $context.settings.ingress.enabled -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "helm-tenant-chart.isPool" -}}
{{- if hasPrefix "pool-" .Values.tenantId -}}true{{- end -}}
{{- end -}}

{{/* The tier: the value `tier`, else derived from the environments of the tenant's apps. */}}
{{- define "helm-tenant-chart.tier" -}}
{{- if .Values.tier -}}
{{- .Values.tier -}}
{{- else if include "helm-tenant-chart.isPool" . -}}
pool
{{- else -}}
  {{- $here := 0 -}}{{- $elsewhere := 0 -}}
  {{- range $app := keys .Values.apps -}}
    {{- $context := dict "root" $ "app" $app -}}
    {{- include "helm-tenant-chart.fillContext" $context -}}
    {{- if $context.settings.enabled -}}{{- $here = add1 $here -}}
    {{- else if $context.settings.envId -}}{{- $elsewhere = add1 $elsewhere -}}{{- end -}}
  {{- end -}}
  {{- if not $here -}}basic{{- else if $elsewhere -}}advanced{{- else -}}premium{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Selector labels of an app's pods, identical to those of the chart that this one replaces. A selector is immutable: with any
other, the first upgrade of an existing release would fail. No version and no tier, because both change.
*/}}
{{- define "helm-tenant-chart.selectorLabels" -}}
app: {{ .name | quote }}
app.kubernetes.io/name: {{ printf "helm-tenant-chart-%s" .app | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{/* Labels of objects of the whole release. */}}
{{- define "helm-tenant-chart.releaseLabels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- $own := dict
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/name" "helm-tenant-chart"
  "app.kubernetes.io/part-of" "tenantry"
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimAll "-_.")
  "tenantry/tenant" .Values.tenantId
  "tenantry/tier" (include "helm-tenant-chart.tier" .) -}}
{{- toYaml (merge $own $labels) -}}
{{- end -}}

{{/* Labels of an app's objects. The version is the image tag, with invalid characters replaced. */}}
{{- define "helm-tenant-chart.labels" -}}
{{- $labels := include "helm-tenant-chart.releaseLabels" .root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/name" (printf "helm-tenant-chart-%s" .app) -}}
{{- $_ := set $labels "app.kubernetes.io/component" .app -}}
{{- $_ := set $labels "tenantry/app" .app -}}
{{- if .settings.enabled -}}
{{- $version := .settings.image.tag | default .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/version" (regexReplaceAll "[^A-Za-z0-9_.-]" $version "_" | trunc 63 | trimAll "-_.") -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of an app's pods. None depends on the chart's version, or every new chart would restart every pod. */}}
{{- define "helm-tenant-chart.podLabels" -}}
{{- $labels := deepCopy .root.Values.commonLabels -}}
{{- include "helm-tenant-chart.merge" (list $labels .settings.podLabels) -}}
{{- include "helm-tenant-chart.merge" (list $labels (include "helm-tenant-chart.selectorLabels" . | fromYaml)) -}}
{{- include "helm-tenant-chart.merge" (list $labels (dict
  "app.kubernetes.io/component" .app
  "app.kubernetes.io/part-of" "tenantry"
  "tenantry/app" .app
  "tenantry/tenant" .root.Values.tenantId
  "tenantry/tier" (include "helm-tenant-chart.tier" .root))) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* An image's reference: (list $ image defaultRepository). A host at the repository's start overrides the registry. */}}
{{- define "helm-tenant-chart.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository | default (index . 2) -}}
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
{{- define "helm-tenant-chart.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (index . 0).Values.global.imagePullSecrets (index . 1) -}}
  {{- $names = append $names (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "helm-tenant-chart.serviceAccountName" -}}
{{- .settings.serviceAccount.name | default (ternary .name "default" .settings.serviceAccount.create) -}}
{{- end -}}

{{/* The effective identity: `auto` means IRSA if an account is set, from which roles are derived. */}}
{{- define "helm-tenant-chart.identity" -}}
{{- $type := .Values.identity.type -}}
{{- if eq $type "auto" -}}
{{- ternary "irsa" "podIdentity" (ne .Values.awsAccountId "") -}}
{{- else -}}
{{- $type -}}
{{- end -}}
{{- end -}}

{{/* "true" if an autoscaler owns the number of pods. The Deployment then sets no replicas, or each upgrade would reset them. */}}
{{- define "helm-tenant-chart.isScaled" -}}
{{- if or .settings.autoscaling.enabled .settings.keda.enabled -}}true{{- end -}}
{{- end -}}

{{/* Minimum number of pods: of the autoscaler in effect, else `replicaCount`. */}}
{{- define "helm-tenant-chart.minReplicas" -}}
{{- if .settings.autoscaling.enabled -}}
{{- int .settings.autoscaling.minReplicas -}}
{{- else if .settings.keda.enabled -}}
{{- int .settings.keda.minReplicas -}}
{{- else -}}
{{- int .settings.replicaCount -}}
{{- end -}}
{{- end -}}

{{/*
"true" if the app has a Service: always if it runs here; if a pool serves it, only for a route in the pool's namespace. A
suspended tenant has no routes.
*/}}
{{- define "helm-tenant-chart.hasService" -}}
{{- if .settings.enabled -}}
true
{{- else if and .settings.ingress.enabled .root.Values.routing.pool.tenantRoutes (not .root.Values.suspended) -}}
true
{{- end -}}
{{- end -}}

{{/*
"true" if the tenant has a route to the app that matches its id. A pool with a catch-all route needs no such route: no client
sends the pool's id.
*/}}
{{- define "helm-tenant-chart.hasRoute" -}}
{{- if and .settings.ingress.enabled (not .root.Values.suspended) (include "helm-tenant-chart.hasService" .) (not (include "helm-tenant-chart.catchesAll" .)) -}}true{{- end -}}
{{- end -}}

{{/* "true" if the app runs in a pool whose route serves every tenant without its own route. */}}
{{- define "helm-tenant-chart.catchesAll" -}}
{{- if and .settings.enabled .root.Values.routing.pool.catchAll -}}true{{- end -}}
{{- end -}}

{{/* The pool of this release: the consumer's pool if the consumer has one, because the data are there. */}}
{{- define "helm-tenant-chart.pool" -}}
{{- $pools := list -}}
{{- range $app := concat (list "consumer") (keys .Values.apps | sortAlpha) -}}
  {{- if hasKey $.Values.apps $app -}}
    {{- $context := dict "root" $ "app" $app -}}
    {{- include "helm-tenant-chart.fillContext" $context -}}
    {{- if not $context.settings.enabled -}}{{- $pools = append $pools $context.settings.envId -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- compact $pools | first | default "" -}}
{{- end -}}

{{/*
Name, namespace and labels of a release object: (list $ "suffix" extraLabels namespace); the last two are optional.
*/}}
{{- define "helm-tenant-chart.releaseMetadata" -}}
{{- $root := index . 0 -}}
{{- $labels := include "helm-tenant-chart.releaseLabels" $root | fromYaml -}}
{{- $namespace := $root.Values.tenantId -}}
{{- if gt (len .) 2 -}}{{- include "helm-tenant-chart.merge" (list $labels (index . 2)) -}}{{- end -}}
{{- if gt (len .) 3 -}}{{- $namespace = index . 3 | default $namespace -}}{{- end -}}
name: {{ include "helm-tenant-chart.name" (list $root.Values.tenantId (index . 1)) }}
namespace: {{ $namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- end -}}
