{{/*
What the templates share. An app's templates get one context: `root` (Helm's own), `app` (its name), `settings` (its
values, merged over appDefaults), `name` (<tenantId>-<app>), `namespace` (where its objects are) and `environment`
(who serves it: the tenant, or a pool).
*/}}

{{/*
Parts joined to a name of at most 63 characters, the limit of labels and Service names. A longer one keeps its start and
ends in a hash of the whole, so that two long names never become one.
*/}}
{{- define "tenant.name" -}}
{{- $name := join "-" . -}}
{{- if gt (len $name) 63 -}}
{{- printf "%s-%s" ($name | trunc 54 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Merges the second map into the first, in place: maps key by key, null takes a key away, anything else replaces. */}}
{{- define "tenant.merge" -}}
{{- $into := index . 0 -}}
{{- range $key, $value := index . 1 -}}
  {{- $old := get $into $key -}}
  {{- if kindIs "invalid" $value -}}
    {{- $_ := unset $into $key -}}
  {{- else if and (kindIs "map" $value) (kindIs "map" $old) -}}
    {{- include "tenant.merge" (list $old $value) -}}
  {{- else -}}
    {{- $_ := set $into $key (ternary (deepCopy $value) $value (kindIs "map" $value)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Renders a template once an app, as documents of their own: (list $ "template"). */}}
{{- define "tenant.eachApp" -}}
{{- $root := index . 0 -}}
{{- $template := index . 1 -}}
{{- range $app := keys $root.Values.apps | sortAlpha -}}
{{- $context := dict "root" $root "app" $app -}}
{{- include "tenant.fillContext" $context -}}
{{- with include $template $context | trim }}
---
{{ . }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Fills in the context of an app that has `root` and `app`. What an app of one's own does not say: it runs here, with a route. */}}
{{- define "tenant.fillContext" -}}
{{- $tenantId := .root.Values.tenantId -}}
{{- $settings := dict "enabled" true "envId" "" "ingress" (dict "enabled" true) -}}
{{- include "tenant.merge" (list $settings .root.Values.appDefaults) -}}
{{- include "tenant.merge" (list $settings (get .root.Values.apps .app)) -}}
{{- $environment := ternary $tenantId $settings.envId $settings.enabled -}}
{{- $_ := set . "settings" $settings -}}
{{- $_ := set . "name" (include "tenant.name" (list $tenantId .app)) -}}
{{- $_ := set . "environment" $environment -}}
{{- $_ := set . "namespace" $environment -}}
{{- end -}}

{{/* "true" where at least one app runs in this release: only then is there something to isolate, limit or watch. */}}
{{- define "tenant.runsApps" -}}
{{- range $app := keys .Values.apps -}}
{{- $context := dict "root" $ "app" $app -}}
{{- include "tenant.fillContext" $context -}}
{{- if $context.settings.enabled -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where the release runs an app or asks for a route to one. What offboarding leaves of a tenant does neither. */}}
{{- define "tenant.isServed" -}}
{{- range $app := keys .Values.apps -}}
{{- $context := dict "root" $ "app" $app -}}
{{- include "tenant.fillContext" $context -}}
{{- if or $context.settings.enabled $context.settings.ingress.enabled -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tenant.isPool" -}}
{{- if hasPrefix "pool-" .Values.tenantId -}}true{{- end -}}
{{- end -}}

{{/* The tier: as set, else by where the apps run that the tenant has. */}}
{{- define "tenant.tier" -}}
{{- if .Values.tier -}}
{{- .Values.tier -}}
{{- else if include "tenant.isPool" . -}}
pool
{{- else -}}
  {{- $here := 0 -}}{{- $elsewhere := 0 -}}
  {{- range $app := keys .Values.apps -}}
    {{- $context := dict "root" $ "app" $app -}}
    {{- include "tenant.fillContext" $context -}}
    {{- if $context.settings.enabled -}}{{- $here = add1 $here -}}
    {{- else if $context.settings.envId -}}{{- $elsewhere = add1 $elsewhere -}}{{- end -}}
  {{- end -}}
  {{- if not $here -}}basic{{- else if $elsewhere -}}advanced{{- else -}}premium{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What pods are selected by. These are the selectors of the chart this one replaces, to the letter: a selector is immutable,
and with any other the first upgrade of an existing release would fail. No version, no tier: both change.
*/}}
{{- define "tenant.selectorLabels" -}}
app: {{ .name | quote }}
app.kubernetes.io/name: {{ printf "helm-tenant-chart-%s" .app | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end -}}

{{/* Labels of objects that belong to the whole release. */}}
{{- define "tenant.releaseLabels" -}}
{{- $labels := deepCopy .Values.commonLabels -}}
{{- $own := dict
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/name" "helm-tenant-chart"
  "app.kubernetes.io/part-of" "tenantry"
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
  "tenantry/tenant" .Values.tenantId
  "tenantry/tier" (include "tenant.tier" .) -}}
{{- toYaml (merge $own $labels) -}}
{{- end -}}

{{/* Labels of an app's objects. The version is the image's, made a valid label. */}}
{{- define "tenant.labels" -}}
{{- $labels := include "tenant.releaseLabels" .root | fromYaml -}}
{{- $_ := set $labels "app.kubernetes.io/name" (printf "helm-tenant-chart-%s" .app) -}}
{{- $_ := set $labels "app.kubernetes.io/component" .app -}}
{{- $_ := set $labels "tenantry/app" .app -}}
{{- if .settings.enabled -}}
{{- $version := .settings.image.tag | default .root.Chart.AppVersion -}}
{{- $_ := set $labels "app.kubernetes.io/version" (regexReplaceAll "[^A-Za-z0-9_.-]" $version "_" | trunc 63 | trimAll "-_.") -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Labels of an app's pods: none that changes with the chart, or every new chart would restart every pod. */}}
{{- define "tenant.podLabels" -}}
{{- $labels := deepCopy .root.Values.commonLabels -}}
{{- include "tenant.merge" (list $labels .settings.podLabels) -}}
{{- include "tenant.merge" (list $labels (include "tenant.selectorLabels" . | fromYaml)) -}}
{{- include "tenant.merge" (list $labels (dict
  "app.kubernetes.io/component" .app
  "app.kubernetes.io/part-of" "tenantry"
  "tenantry/app" .app
  "tenantry/tenant" .root.Values.tenantId
  "tenantry/tier" (include "tenant.tier" .root))) -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* An image's reference: (list $ image defaultRepository). A repository that begins with a host keeps it. */}}
{{- define "tenant.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- $repository := $image.repository | default (index . 2) -}}
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

{{/* Pull secrets as a list of names without repetition: (list $ ownSecrets). Global ones may be names or maps. */}}
{{- define "tenant.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat ((index . 0).Values.global.imagePullSecrets | default list) (index . 1 | default list) -}}
  {{- $names = append $names (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $names -}}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "tenant.serviceAccountName" -}}
{{- .settings.serviceAccount.name | default (ternary .name "default" .settings.serviceAccount.create) -}}
{{- end -}}

{{/* The identity in effect: `auto` is IRSA where there is an account to derive roles from. */}}
{{- define "tenant.identity" -}}
{{- $type := .Values.identity.type -}}
{{- if eq $type "auto" -}}
{{- ternary "irsa" "podIdentity" (ne (include "tenant.awsAccountId" .) "") -}}
{{- else -}}
{{- $type -}}
{{- end -}}
{{- end -}}

{{/* Twelve digits, also where the account was given as a number, which loses leading zeros. */}}
{{- define "tenant.awsAccountId" -}}
{{- $id := .Values.awsAccountId -}}
{{- if kindIs "string" $id -}}{{- $id -}}{{- else if $id -}}{{- printf "%012d" (int64 $id) -}}{{- end -}}
{{- end -}}

{{/* "true" where an autoscaler owns the number of pods; the Deployment then names none, or each upgrade would reset it. */}}
{{- define "tenant.isScaled" -}}
{{- if or .settings.autoscaling.enabled .settings.keda.enabled -}}true{{- end -}}
{{- end -}}

{{/* Fewest pods there may be, by whoever owns the number. */}}
{{- define "tenant.leastReplicas" -}}
{{- if .settings.autoscaling.enabled -}}
{{- int .settings.autoscaling.minReplicas -}}
{{- else if .settings.keda.enabled -}}
{{- int .settings.keda.minReplicas -}}
{{- else -}}
{{- int .settings.replicaCount -}}
{{- end -}}
{{- end -}}

{{/*
"true" where the app has a Service: always where it runs; where a pool serves it, for its route in the pool's namespace.
A suspended tenant has no routes.
*/}}
{{- define "tenant.hasService" -}}
{{- if .settings.enabled -}}
true
{{- else if and .settings.ingress.enabled .root.Values.routing.pool.tenantRoutes (not .root.Values.suspended) -}}
true
{{- end -}}
{{- end -}}

{{/*
"true" where the tenant has a route to the app: one that asks for its id. A pool that catches all needs none of its own: no
client is called after it.
*/}}
{{- define "tenant.hasRoute" -}}
{{- if and .settings.ingress.enabled (not .root.Values.suspended) (include "tenant.hasService" .) (not (include "tenant.catchesAll" .)) -}}true{{- end -}}
{{- end -}}

{{/* "true" where the app is a pool's and its route catches every tenant without one of its own. */}}
{{- define "tenant.catchesAll" -}}
{{- if and .settings.enabled .root.Values.routing.pool.catchAll -}}true{{- end -}}
{{- end -}}

{{/* The pool that serves apps of this release: the consumer's where it has one, for that is where the data are. */}}
{{- define "tenant.pool" -}}
{{- $pools := list -}}
{{- range $app := concat (list "consumer") (keys .Values.apps | sortAlpha) -}}
  {{- if hasKey $.Values.apps $app -}}
    {{- $context := dict "root" $ "app" $app -}}
    {{- include "tenant.fillContext" $context -}}
    {{- if not $context.settings.enabled -}}{{- $pools = append $pools $context.settings.envId -}}{{- end -}}
  {{- end -}}
{{- end -}}
{{- compact $pools | first | default "" -}}
{{- end -}}

{{/*
Name, namespace and labels of an object of the release: (list $ "suffix" extraLabels namespace), the last two optional.
*/}}
{{- define "tenant.releaseMetadata" -}}
{{- $root := index . 0 -}}
{{- $labels := include "tenant.releaseLabels" $root | fromYaml -}}
{{- $namespace := $root.Values.tenantId -}}
{{- if gt (len .) 2 -}}{{- include "tenant.merge" (list $labels (index . 2)) -}}{{- end -}}
{{- if gt (len .) 3 -}}{{- $namespace = index . 3 | default $namespace -}}{{- end -}}
name: {{ include "tenant.name" (list $root.Values.tenantId (index . 1)) }}
namespace: {{ $namespace | quote }}
labels:
  {{- toYaml $labels | nindent 2 }}
{{- end -}}
