{{/*
What the schema cannot say: rules across keys, on values as they are after merging. Each stops with a sentence that names
the key and what to set.
*/}}

{{- define "tenant.validateApp" -}}
{{- $at := printf "apps.%s" .app -}}
{{- $s := .settings -}}
{{- if and (regexMatch "^[0-9]" .root.Values.tenantId) (include "tenant.hasService" .) -}}
  {{- fail (printf "tenantId is %q: its Service would be called %s, and Kubernetes refuses a Service whose name begins with a digit (RFC 1035); choose an id that begins with a letter" .root.Values.tenantId .name) -}}
{{- end -}}
{{- if not $s.enabled -}}
  {{- if and $s.ingress.enabled (not $s.envId) -}}
    {{- fail (printf "%s.enabled is false and %s.ingress.enabled is true, so a pool serves this app: set %s.envId to the pool's name, for example pool-1" $at $at $at) -}}
  {{- end -}}
  {{- if and $s.envId (not (hasPrefix "pool-" $s.envId)) -}}
    {{- fail (printf "%s.envId is %q: only a pool serves other tenants, and a pool's name begins with pool-, for example pool-1" $at $s.envId) -}}
  {{- end -}}
  {{- if eq $s.envId .root.Values.tenantId -}}
    {{- fail (printf "%s.envId is this release itself (%s): set %s.enabled to true to run the app here" $at $s.envId $at) -}}
  {{- end -}}
{{- else -}}
  {{- include "tenant.validateScaling" (list $at .) -}}
  {{- include "tenant.validateDrain" (list $at .) -}}
  {{- include "tenant.validateIdentity" (list $at .) -}}
{{- end -}}
{{- end -}}

{{- define "tenant.validateScaling" -}}
{{- $at := index . 0 -}}{{- $context := index . 1 -}}{{- $s := $context.settings -}}
{{- if and $s.autoscaling.enabled $s.keda.enabled -}}
  {{- fail (printf "%s: autoscaling.enabled and keda.enabled exclude each other: KEDA makes a HorizontalPodAutoscaler of its own" $at) -}}
{{- end -}}
{{- range $key := list "autoscaling" "keda" -}}
  {{- $scaler := get $s $key -}}
  {{- if and $scaler.enabled (gt (int $scaler.minReplicas) (int $scaler.maxReplicas)) -}}
    {{- fail (printf "%s.%s: minReplicas (%d) is above maxReplicas (%d)" $at $key (int $scaler.minReplicas) (int $scaler.maxReplicas)) -}}
  {{- end -}}
{{- end -}}
{{- if and $s.autoscaling.enabled (not (or $s.autoscaling.targetCPUUtilizationPercentage $s.autoscaling.targetMemoryUtilizationPercentage)) -}}
  {{- fail (printf "%s.autoscaling has nothing to scale by: set targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" $at) -}}
{{- end -}}
{{- if $s.keda.enabled -}}
  {{- if eq (empty $s.keda.queueUrl) (empty $s.keda.queueUrlFromEnv) -}}
    {{- fail (printf "%s.keda needs to know its queue: set either queueUrl, for example https://sqs.eu-west-1.amazonaws.com/123456789012/consumer-tenant-1-x1y, or queueUrlFromEnv" $at) -}}
  {{- end -}}
  {{- if not (include "tenant.queueRegion" $context) -}}
    {{- fail (printf "%s.keda needs the queue's region: set aws.region" $at) -}}
  {{- end -}}
  {{- if and (eq $s.keda.identityOwner "workload") (ne (include "tenant.identity" $context.root) "irsa") -}}
    {{- fail (printf "%s.keda.identityOwner is workload, which reads the role from the service account's IRSA annotation: set identity.type to irsa, or identityOwner to keda" $at) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "tenant.validateDrain" -}}
{{- $at := index . 0 -}}{{- $s := (index . 1).settings -}}
{{- $shutdown := int $s.drain.shutdownGraceSeconds -}}
{{- $least := add (int $s.drain.preStopSleepSeconds) $shutdown 1 | int -}}
{{- with $s.drain.terminationGracePeriodSeconds -}}
  {{- if lt (int .) $least -}}
    {{- fail (printf "%s.drain.terminationGracePeriodSeconds is %d: the pod would be killed before it has drained; it needs at least %d (preStopSleepSeconds + shutdownGraceSeconds + 1)" $at (int .) $least) -}}
  {{- end -}}
{{- end -}}
{{- with $s.receiveWaitSeconds -}}
  {{- if lt $shutdown (add (int .) 5 | int) -}}
    {{- fail (printf "%s.drain.shutdownGraceSeconds is %d: an idle poll of %d seconds (receiveWaitSeconds) is never cancelled and may answer 5 seconds late, so a drain needs at least %d" $at $shutdown (int .) (add (int .) 5 | int)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "tenant.validateIdentity" -}}
{{- $at := index . 0 -}}{{- $context := index . 1 -}}{{- $s := $context.settings -}}
{{- $account := $s.serviceAccount -}}
{{- if eq (include "tenant.identity" $context.root) "irsa" -}}
  {{- if and $account.create (not $account.roleArn) (not (include "tenant.awsAccountId" $context.root)) -}}
    {{- fail (printf "identity.type is irsa, and the role of %s is not known: set awsAccountId, or %s.serviceAccount.roleArn" $context.app $at) -}}
  {{- end -}}
{{- end -}}
{{- $own := include "tenant.env" $context | fromYamlArray -}}
{{- range $extra := $s.extraEnv -}}
  {{- range $own -}}
    {{- if eq .name $extra.name -}}
      {{- fail (printf "%s.extraEnv sets %s, which the chart sets, too: use the value that is made for it" $at .name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Rules of the release as a whole. */}}
{{- define "tenant.validate" -}}
{{- $v := .Values -}}
{{- $reserved := list "amazon" "argo" "argocd" "default" "flux" "flux-system" "kube" "kubernetes" "pool" "tenantry" -}}
{{- if or (has $v.tenantId $reserved) (regexMatch "^(kube|argo|argocd|flux|aws)-" $v.tenantId) -}}
  {{- fail (printf "tenantId is %q: this name is reserved, the services refuse it and its namespace belongs to the cluster; choose another" $v.tenantId) -}}
{{- end -}}
{{- if and $v.routing.pool.catchAll (not (include "tenant.isPool" .)) -}}
  {{- fail (printf "routing.pool.catchAll is true in the release of %s: only a pool, whose name begins with pool-, may catch the requests of other tenants" $v.tenantId) -}}
{{- end -}}
{{- if eq $v.routing.type "gateway" -}}
  {{- if not $v.routing.gateway.parentRefs -}}
    {{- fail "routing.type is gateway: set routing.gateway.parentRefs to the Gateway that takes the requests, for example [{name: tenants, namespace: gateway}]" -}}
  {{- end -}}
  {{- $timeouts := $v.routing.gateway.timeouts -}}
  {{- if and $timeouts.request $timeouts.backendRequest -}}
    {{- $request := include "tenant.milliseconds" $timeouts.request | int64 -}}
    {{- $backend := include "tenant.milliseconds" $timeouts.backendRequest | int64 -}}
    {{- if and (gt $request 0) (gt $backend $request) -}}
      {{- fail (printf "routing.gateway.timeouts: backendRequest (%s) is above request (%s), which Gateway API refuses" $timeouts.backendRequest $timeouts.request) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $v.routing.traefik.tls.secretName $v.routing.traefik.tls.certResolver -}}
  {{- fail "routing.traefik.tls: secretName and certResolver exclude each other" -}}
{{- end -}}
{{- include "tenant.validateAuth" $v.auth -}}
{{- $identity := include "tenant.identity" . -}}
{{- if include "tenant.runsApps" . -}}
  {{- if and (has $identity (list "secret" "none")) (not $v.aws.region) -}}
    {{- fail (printf "identity.type is %s: nothing else sets the region, so set aws.region, for example us-east-1" $identity) -}}
  {{- end -}}
  {{- if and (eq $identity "secret") (not $v.identity.secret.name) -}}
    {{- fail "identity.type is secret: set identity.secret.name to a Secret with the access key in the tenant's namespace" -}}
  {{- end -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
  {{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled exclude each other: every figure would count twice" -}}
{{- end -}}
{{- if and $v.suspended (include "tenant.isPool" .) -}}
  {{- fail (printf "suspended is true in the release of %s: a pool serves other tenants; suspend each of them" $v.tenantId) -}}
{{- end -}}
{{- range $name, $_ := $v.infra.vars -}}
  {{- if or (has $name (list "tenant_id" "tier" "pool_id" "suspended" "delete_data" "retain")) (hasPrefix "enable_" $name) -}}
    {{- fail (printf "infra.vars.%s is set by the chart, from other values" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $v.infra.retain -}}
  {{- if not (hasKey $v.apps .) -}}
    {{- fail (printf "infra.retain names %q, which is no app of apps: %s" . (keys $v.apps | sortAlpha | join ", ")) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* What services would refuse at their start is refused here. */}}
{{- define "tenant.validateAuth" -}}
{{- if eq .type "jwt" -}}
  {{- if not .issuer -}}{{- fail "auth.type is jwt: set auth.issuer to the issuer of the tokens, as their iss spells it" -}}{{- end -}}
  {{- if not .audiences -}}{{- fail "auth.type is jwt: set auth.audiences to the audiences a token may be for" -}}{{- end -}}
  {{- if and (eq .source "authorization") (not .jwks) -}}
    {{- fail "auth.source is authorization: set auth.jwks to the https URL of the issuer's key set" -}}
  {{- end -}}
  {{- if and (eq .source "alb") (not .albArn) -}}
    {{- fail "auth.source is alb: set auth.albArn to the load balancer that signs" -}}
  {{- end -}}
  {{- if and (eq .source "authorization") .albArn -}}
    {{- fail "auth.albArn is set, but auth.source is not alb: set auth.source to alb, or take it away" -}}
  {{- end -}}
{{- else if or .issuer .audiences .jwks .albArn -}}
  {{- fail "auth says what tokens must be, but auth.type is none, so the TenantID header is believed: set auth.type to jwt" -}}
{{- end -}}
{{- end -}}

{{/*
An upgrade that no longer has the Terraform object deletes it. Releases of the chart this one replaces made it with
`destroyResourcesOnDeletion: true`, so that the tenant's data would go with it, without a word.
*/}}
{{- define "tenant.validateInfra" -}}
{{- $infra := .Values.infra -}}
{{- $isKnown := .Capabilities.APIVersions.Has "infra.contrib.fluxcd.io/v1alpha2" -}}
{{- if and .Release.IsUpgrade $isKnown $infra.guardUpgrades (not $infra.enabled) -}}
  {{- $live := lookup "infra.contrib.fluxcd.io/v1alpha2" "Terraform" $infra.namespace .Values.tenantId -}}
  {{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live -}}
  {{- if and (eq $owner .Release.Name) (dig "spec" "destroyResourcesOnDeletion" false $live) -}}
    {{- fail (printf "this upgrade would delete the Terraform object %s/%s, and with it the tenant's queue and table, because destroyResourcesOnDeletion is true on it: set infra.enabled to true, which keeps the object and turns that off" $infra.namespace .Values.tenantId) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* A duration of Gateway API in milliseconds. */}}
{{- define "tenant.milliseconds" -}}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
  {{- $unit := regexFind "[a-z]+" . -}}
  {{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}
