{{/*
Rules that the schema cannot express: across keys, on merged values. Each `fail` names the key, its value and the next step.
*/}}

{{- define "helm-tenant-chart.validateApp" -}}
{{- $at := printf "apps.%s" .app -}}
{{- $s := .settings -}}
{{- if and (regexMatch "^[0-9]" .root.Values.tenantId) (include "helm-tenant-chart.hasService" .) -}}
  {{- fail (printf "tenantId is %q, so its Service would be called %s, and Kubernetes refuses a Service name that begins with a digit (RFC 1035): choose an id that begins with a letter" .root.Values.tenantId .name) -}}
{{- end -}}
{{- if not $s.enabled -}}
  {{- if and $s.ingress.enabled (not $s.envId) -}}
    {{- fail (printf "%s.enabled is false and %s.ingress.enabled is true, so a pool must serve this app: set %s.envId to the pool's name, for example pool-1" $at $at $at) -}}
  {{- end -}}
  {{- if and $s.envId (not (hasPrefix "pool-" $s.envId)) -}}
    {{- fail (printf "%s.envId is %q, and only a pool serves other tenants: set it to a pool's name, which begins with pool-, for example pool-1" $at $s.envId) -}}
  {{- end -}}
  {{- if eq $s.envId .root.Values.tenantId -}}
    {{- fail (printf "%s.envId is this release itself (%s): set %s.enabled to true to run the app here" $at $s.envId $at) -}}
  {{- end -}}
{{- else -}}
  {{- include "helm-tenant-chart.validateScaling" (list $at .) -}}
  {{- include "helm-tenant-chart.validateDrain" (list $at .) -}}
  {{- include "helm-tenant-chart.validateIdentity" (list $at .) -}}
  {{- include "helm-tenant-chart.unique" (list (printf "%s.podSecurityContext.sysctls" $at) "name" ($s.podSecurityContext.sysctls | default list)) -}}
{{- end -}}
{{- end -}}

{{- define "helm-tenant-chart.validateScaling" -}}
{{- $at := index . 0 -}}{{- $context := index . 1 -}}{{- $s := $context.settings -}}
{{- if and $s.autoscaling.enabled $s.keda.enabled -}}
  {{- fail (printf "%s: autoscaling.enabled and keda.enabled are both true, and KEDA makes its own HorizontalPodAutoscaler: set one to false" $at) -}}
{{- end -}}
{{- range $key := list "autoscaling" "keda" -}}
  {{- $scaler := get $s $key -}}
  {{- if and $scaler.enabled (gt (int $scaler.minReplicas) (int $scaler.maxReplicas)) -}}
    {{- fail (printf "%s.%s: minReplicas (%d) is above maxReplicas (%d): lower the first or raise the second" $at $key (int $scaler.minReplicas) (int $scaler.maxReplicas)) -}}
  {{- end -}}
{{- end -}}
{{- if and $s.autoscaling.enabled (not (or $s.autoscaling.targetCPUUtilizationPercentage $s.autoscaling.targetMemoryUtilizationPercentage)) -}}
  {{- fail (printf "%s.autoscaling.enabled is true without a target: set targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" $at) -}}
{{- end -}}
{{- if $s.keda.enabled -}}
  {{- if eq (empty $s.keda.queueUrl) (empty $s.keda.queueUrlFromEnv) -}}
    {{- fail (printf "%s.keda.enabled is true and needs exactly one queue: set either queueUrl, for example https://sqs.eu-west-1.amazonaws.com/123456789012/consumer-tenant-1-x1y, or queueUrlFromEnv" $at) -}}
  {{- end -}}
  {{- if not (include "helm-tenant-chart.queueRegion" $context) -}}
    {{- fail (printf "%s.keda.enabled is true and the queue's URL names no region: set aws.region, for example us-east-1" $at) -}}
  {{- end -}}
  {{- if and (eq $s.keda.identityOwner "workload") (ne (include "helm-tenant-chart.identity" $context.root) "irsa") -}}
    {{- fail (printf "%s.keda.identityOwner is workload, and KEDA reads that role from the service account's IRSA annotation: set identity.type to irsa, or identityOwner to keda" $at) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "helm-tenant-chart.validateDrain" -}}
{{- $at := index . 0 -}}{{- $s := (index . 1).settings -}}
{{- $shutdown := int $s.drain.shutdownGraceSeconds -}}
{{- $least := add (int $s.drain.preStopSleepSeconds) $shutdown 1 | int -}}
{{- with $s.drain.terminationGracePeriodSeconds -}}
  {{- if lt (int .) $least -}}
    {{- fail (printf "%s.drain.terminationGracePeriodSeconds is %d, and the kubelet would kill the pod before it has drained: set at least %d (preStopSleepSeconds + shutdownGraceSeconds + 1)" $at (int .) $least) -}}
  {{- end -}}
{{- end -}}
{{- with $s.receiveWaitSeconds -}}
  {{- if lt $shutdown (add (int .) 5 | int) -}}
    {{- fail (printf "%s.drain.shutdownGraceSeconds is %d, but an idle poll of %d seconds (receiveWaitSeconds) is never cancelled and may answer 5 seconds late: set at least %d" $at $shutdown (int .) (add (int .) 5 | int)) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{- define "helm-tenant-chart.validateIdentity" -}}
{{- $at := index . 0 -}}{{- $context := index . 1 -}}{{- $s := $context.settings -}}
{{- $account := $s.serviceAccount -}}
{{- if eq (include "helm-tenant-chart.identity" $context.root) "irsa" -}}
  {{- if and $account.create (not $account.roleArn) (not $context.root.Values.awsAccountId) -}}
    {{- fail (printf "identity.type is irsa, and no value names the role of %s: set awsAccountId, or %s.serviceAccount.roleArn" $context.app $at) -}}
  {{- end -}}
{{- end -}}
{{- include "helm-tenant-chart.unique" (list (printf "%s.extraEnv" $at) "name" $s.extraEnv) -}}
{{- $own := include "helm-tenant-chart.env" $context | fromYamlArray -}}
{{- range $extra := $s.extraEnv -}}
  {{- range $own -}}
    {{- if eq .name $extra.name -}}
      {{- fail (printf "%s.extraEnv sets %s, which the chart sets itself: remove it and set the chart's own value instead" $at .name) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* Rules of the release as a whole. */}}
{{- define "helm-tenant-chart.validate" -}}
{{- $v := .Values -}}
{{- if not $v.tenantId -}}
  {{- fail "tenantId is empty: set it to the id of the tenant or the pool, for example tenant-1" -}}
{{- end -}}
{{- if not $v.apps -}}
  {{- fail "apps is empty, so the release would be, too: to turn an app off, set apps.<app>.enabled to false instead" -}}
{{- end -}}
{{- if and (eq (toString $v.enabled) "false") (not (contains "/charts/" .Template.BasePath)) -}}
  {{- fail "enabled is false, and only a parent chart with this condition can leave this chart out: remove it here" -}}
{{- end -}}
{{- include "helm-tenant-chart.unique" (list "routing.hostnames" "" $v.routing.hostnames) -}}
{{- include "helm-tenant-chart.unique" (list "infra.runnerEnv" "name" $v.infra.runnerEnv) -}}
{{- include "helm-tenant-chart.unique" (list "limitRange.limits" "type" $v.limitRange.limits) -}}
{{- $reserved := list "amazon" "argo" "argocd" "aws" "cattle-system" "cert-manager" "cilium" "cilium-system" "crossplane-system" "default"
    "eks" "envoy-gateway-system" "external-dns" "external-secrets" "flux" "flux-system" "gatekeeper-system" "gateway" "grafana" "harbor"
    "ingress-nginx" "istio-system" "karpenter" "keda" "kube" "kubecost" "kubernetes" "kyverno" "linkerd" "local-path-storage" "logging"
    "loki" "metallb-system" "monitoring" "observability" "onboarding-service" "opencost" "pool" "prometheus" "tenant-secrets" "tenantry" "tigera-operator"
    "traefik" "vault" "velero" -}}
{{- if or (has $v.tenantId $reserved) (regexMatch "^(amazon|argo|argocd|aws|flux|kube|kubernetes|tenantry)-" $v.tenantId) -}}
  {{- fail (printf "tenantId is %q: this name is reserved for the cluster, and the services refuse it; choose another" $v.tenantId) -}}
{{- end -}}
{{- if and $v.routing.pool.catchAll (not (include "helm-tenant-chart.isPool" .)) -}}
  {{- fail (printf "routing.pool.catchAll is true in the release of %s, and only a pool (pool-…) may serve other tenants' requests: set it to false here" $v.tenantId) -}}
{{- end -}}
{{- if eq $v.routing.type "gateway" -}}
  {{- if not $v.routing.gateway.parentRefs -}}
    {{- fail "routing.type is gateway: set routing.gateway.parentRefs to the Gateway of the routes, for example [{name: tenants, namespace: gateway}]" -}}
  {{- end -}}
  {{- include "helm-tenant-chart.validateParents" (list "routing.gateway.parentRefs" $v.routing.gateway.parentRefs) -}}
  {{- $timeouts := $v.routing.gateway.timeouts -}}
  {{- if and $timeouts.request $timeouts.backendRequest -}}
    {{- $request := include "helm-tenant-chart.milliseconds" $timeouts.request | int64 -}}
    {{- $backend := include "helm-tenant-chart.milliseconds" $timeouts.backendRequest | int64 -}}
    {{- if and (gt $request 0) (gt $backend $request) -}}
      {{- fail (printf "routing.gateway.timeouts: backendRequest (%s) is above request (%s), and Gateway API refuses that: lower the first or raise the second" $timeouts.backendRequest $timeouts.request) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and $v.routing.traefik.tls.secretName $v.routing.traefik.tls.certResolver -}}
  {{- fail "routing.traefik.tls: secretName and certResolver are both set: leave one empty" -}}
{{- end -}}
{{- include "helm-tenant-chart.validateAuth" $v.auth -}}
{{- $identity := include "helm-tenant-chart.identity" . -}}
{{- if include "helm-tenant-chart.runsApps" . -}}
  {{- if and (has $identity (list "secret" "none")) (not $v.aws.region) -}}
    {{- fail (printf "identity.type is %s, and nothing else sets the region: set aws.region, for example us-east-1" $identity) -}}
  {{- end -}}
  {{- if and (eq $identity "secret") (not $v.identity.secret.name) -}}
    {{- fail "identity.type is secret: set identity.secret.name to a Secret in the tenant's namespace that holds the access key" -}}
  {{- end -}}
{{- end -}}
{{- include "helm-tenant-chart.validateNetwork" . -}}
{{- range $guard, $key := dict "resourceQuota" "hard" "limitRange" "limits" -}}
  {{- if and (get $v $guard).enabled (not (get (get $v $guard) $key)) -}}
    {{- fail (printf "%s.enabled is true and %s.%s is empty: set a limit, or enabled to false" $guard $guard $key) -}}
  {{- end -}}
{{- end -}}
{{- if and $v.metrics.serviceMonitor.enabled $v.metrics.podMonitor.enabled -}}
  {{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled are both true, and every metric would count twice: set one to false" -}}
{{- end -}}
{{- if and $v.suspended (include "helm-tenant-chart.isPool" .) -}}
  {{- fail (printf "suspended is true in the release of %s, which is a pool: suspend each of its tenants instead" $v.tenantId) -}}
{{- end -}}
{{- range $name, $_ := $v.infra.vars -}}
  {{- if or (has $name (list "tenant_id" "tier" "pool_id" "suspended" "delete_data" "retain")) (hasPrefix "enable_" $name) -}}
    {{- fail (printf "infra.vars.%s is a variable that the chart sets from other values: remove it and set those values" $name) -}}
  {{- end -}}
{{- end -}}
{{- range $v.infra.retain -}}
  {{- if not (hasKey $v.apps .) -}}
    {{- fail (printf "infra.retain names %q, which is not an app of this release: choose from %s" . (keys $v.apps | sortAlpha | join ", ")) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/*
With AUTH=none a client of port 8080 can act as any tenant, and the chart cannot know the load balancer's subnets. `auto` then
allows no client, so that values without `networkPolicy.clients` still render; `true` refuses them.
*/}}
{{- define "helm-tenant-chart.validateNetwork" -}}
{{- $isDemanded := eq (toString .Values.networkPolicy.enabled) "true" -}}
{{- if and $isDemanded (include "helm-tenant-chart.lacksClients" .) -}}
  {{- fail "networkPolicy.enabled is true, routing.type is alb and auth.type is none, so only the load balancer may reach the apps: set networkPolicy.clients to its subnets, for example [{ipBlock: {cidr: 10.0.0.0/20}}], or auth.type to jwt" -}}
{{- end -}}
{{- end -}}

{{/* Refuses the settings that the services refuse at their start. */}}
{{- define "helm-tenant-chart.validateAuth" -}}
{{- if eq .type "jwt" -}}
  {{- if not .issuer -}}{{- fail "auth.type is jwt: set auth.issuer to the issuer of the tokens, exactly as in their iss claim" -}}{{- end -}}
  {{- if not .audiences -}}{{- fail "auth.type is jwt: set auth.audiences to the accepted audiences of a token" -}}{{- end -}}
  {{- if and (eq .source "authorization") (not .jwks) -}}
    {{- fail "auth.source is authorization: set auth.jwks to the https URL of the issuer's key set" -}}
  {{- end -}}
  {{- if and (eq .source "alb") (not .albArn) -}}
    {{- fail "auth.source is alb: set auth.albArn to the ARN of the load balancer that signs" -}}
  {{- end -}}
  {{- if and (eq .source "authorization") .albArn -}}
    {{- fail "auth.albArn is set, but auth.source is not alb: set auth.source to alb, or remove auth.albArn" -}}
  {{- end -}}
{{- else if or .issuer .audiences .jwks .albArn -}}
  {{- fail "auth describes tokens, but auth.type is none, so services trust the TenantID header: set auth.type to jwt" -}}
{{- end -}}
{{- end -}}

{{/*
Refuses an upgrade that deletes a Terraform object together with the tenant's data. Releases of the chart that this one
replaces made that object with `destroyResourcesOnDeletion: true`, so a release without it would destroy the data silently.
*/}}
{{- define "helm-tenant-chart.validateInfra" -}}
{{- $infra := .Values.infra -}}
{{- $isKnown := .Capabilities.APIVersions.Has "infra.contrib.fluxcd.io/v1alpha2" -}}
{{- if and .Release.IsUpgrade $isKnown $infra.guardUpgrades (not $infra.enabled) -}}
  {{- $live := lookup "infra.contrib.fluxcd.io/v1alpha2" "Terraform" $infra.namespace .Values.tenantId -}}
  {{- $owner := dig "metadata" "annotations" "meta.helm.sh/release-name" "" $live -}}
  {{- if and (eq $owner .Release.Name) (dig "spec" "destroyResourcesOnDeletion" false $live) -}}
    {{- fail (printf "this upgrade would delete the Terraform object %s/%s and destroy the tenant's queue and table, because the object has destroyResourcesOnDeletion: true. Set infra.enabled to true: the upgrade then keeps the object and turns destroyResourcesOnDeletion off" $infra.namespace .Values.tenantId) -}}
  {{- end -}}
{{- end -}}
{{- end -}}

{{/* A Gateway API duration in milliseconds. */}}
{{- define "helm-tenant-chart.milliseconds" -}}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
  {{- $unit := regexFind "[a-z]+" . -}}
  {{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units $unit)) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/*
Refuses a list with two equal entries, because the API server refuses them, or keeps one: (list path key entries). Entries are
maps that must differ in the key, or texts if the key is empty.
*/}}
{{- define "helm-tenant-chart.unique" -}}
{{- $path := index . 0 -}}{{- $key := index . 1 -}}
{{- $seen := list -}}
{{- range index . 2 -}}
  {{- $name := . -}}
  {{- if $key -}}{{- $name = get . $key -}}{{- end -}}
  {{- if has $name $seen -}}
    {{- fail (printf "%s names %q twice: remove one of the two entries" $path $name) -}}
  {{- end -}}
  {{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}

{{/*
Refuses a route's parents that Gateway API refuses: (list path parentRefs). A parent is a group, kind, namespace, name, section and
port. Of two references to one object, both or neither must name a section.
*/}}
{{- define "helm-tenant-chart.validateParents" -}}
{{- $path := index . 0 -}}
{{- $parents := list -}}
{{- $hasSection := dict -}}
{{- range index . 1 -}}
  {{- $group := ternary .group "gateway.networking.k8s.io" (hasKey . "group") -}}
  {{- $parent := printf "%s %s" (.kind | default "Gateway") .name -}}
  {{- with .namespace -}}{{- $parent = printf "%s in %s" $parent . -}}{{- end -}}
  {{- if ne $group "gateway.networking.k8s.io" -}}{{- $parent = printf "%s of group '%s'" $parent $group -}}{{- end -}}
  {{- $isSection := not (empty .sectionName) -}}
  {{- if ne (get $hasSection $parent | default $isSection | toString) (toString $isSection) -}}
    {{- fail (printf "%s names %q with and without sectionName, and Gateway API refuses that: set sectionName in both entries, or remove one" $path $parent) -}}
  {{- end -}}
  {{- $_ := set $hasSection $parent (toString $isSection) -}}
  {{- with .sectionName -}}{{- $parent = printf "%s, section %s" $parent . -}}{{- end -}}
  {{- with .port -}}{{- $parent = printf "%s, port %d" $parent (int .) -}}{{- end -}}
  {{- $parents = append $parents $parent -}}
{{- end -}}
{{- include "helm-tenant-chart.unique" (list $path "" $parents) -}}
{{- end -}}
