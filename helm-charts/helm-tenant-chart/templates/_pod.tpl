{{/* Parts of an app's pod. */}}

{{/* The `restricted` Pod Security Standard. 65532 is the user of distroless images; `runAsNonRoot` needs a number. */}}
{{- define "helm-tenant-chart.restricted" -}}
podSecurityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end -}}

{{/* The container's variables, as a list: the services' own, then the AWS SDK's. */}}
{{- define "helm-tenant-chart.env" -}}
{{- $s := .settings -}}
- name: ENVIRONMENT
  value: {{ .root.Values.tenantId | quote }}
- name: PORT
  value: "8080"
- name: ADMIN_PORT
  value: "9090"
- name: LOG_FORMAT
  value: {{ $s.logFormat | quote }}
- name: LOG_LEVEL
  value: {{ $s.logLevel | quote }}
- name: SHUTDOWN_GRACE_SECONDS
  value: {{ int $s.drain.shutdownGraceSeconds | quote }}
{{- with $s.receiveWaitSeconds }}
- name: RECEIVE_WAIT_SECONDS
  value: {{ int . | quote }}
{{- end }}
{{- with $s.tenantRatePerSecond }}
- name: TENANT_RATE_PER_SECOND
  value: {{ int64 . | quote }}
{{- end }}
{{- with $s.tenantRoleArn }}
- name: TENANT_ROLE_ARN
  value: {{ . | quote }}
{{- end }}
{{- include "helm-tenant-chart.authEnv" .root }}
{{- with $s.otlpEndpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{ include "helm-tenant-chart.awsEnv" .root }}
{{- end -}}

{{/* Authentication of requests. Without tokens only `AUTH`: the services then refuse the other variables. */}}
{{- define "helm-tenant-chart.authEnv" }}
{{- $auth := .Values.auth }}
- name: AUTH
  value: {{ $auth.type | quote }}
{{- if eq $auth.type "jwt" }}
- name: AUTH_ISSUER
  value: {{ $auth.issuer | quote }}
- name: AUTH_AUDIENCE
  value: {{ join "," $auth.audiences | quote }}
- name: AUTH_CLAIM
  value: {{ $auth.claim | quote }}
- name: AUTH_SOURCE
  value: {{ $auth.source | quote }}
- name: AUTH_LEEWAY_SECONDS
  value: {{ int $auth.leewaySeconds | quote }}
- name: AUTH_JWKS_REFRESH_SECONDS
  value: {{ int $auth.jwksRefreshSeconds | quote }}
{{- with $auth.jwks }}
- name: AUTH_JWKS
  value: {{ . | quote }}
{{- end }}
{{- if eq $auth.source "alb" }}
- name: AUTH_ALB_ARN
  value: {{ $auth.albArn | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "helm-tenant-chart.awsEnv" -}}
# Credentials never come from instance metadata, which serves the node's role.
- name: AWS_EC2_METADATA_DISABLED
  value: "true"
{{- with .Values.aws.region }}
- name: AWS_REGION
  value: {{ . | quote }}
{{- end }}
{{- with .Values.aws.endpointUrl }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
{{- range $service, $url := .Values.aws.endpointUrls }}
{{- with $url }}
- name: {{ printf "AWS_ENDPOINT_URL_%s" (upper $service) }}
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- if eq (include "helm-tenant-chart.identity" .) "secret" }}
{{- with .Values.identity.secret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .accessKeyIdKey | quote }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .name | quote }}
      key: {{ .secretAccessKeyKey | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "helm-tenant-chart.probe" -}}
{{- $probe := index . 1 -}}
httpGet:
  path: {{ index . 0 }}
  port: admin
periodSeconds: {{ int $probe.periodSeconds }}
failureThreshold: {{ int $probe.failureThreshold }}
timeoutSeconds: 2
{{- end -}}

{{/*
Seconds until the kubelet kills the pod: the sleep in which load balancers remove the pod, the service's own deadline, and
5 seconds for delays around both.
*/}}
{{- define "helm-tenant-chart.terminationGracePeriodSeconds" -}}
{{- $drain := .settings.drain -}}
{{- $drain.terminationGracePeriodSeconds | default (add (int $drain.preStopSleepSeconds) (int $drain.shutdownGraceSeconds) 5) | int -}}
{{- end -}}

{{/* Spread over zones and nodes. `matchLabelKeys` counts the pods of one rollout only: the old pods would skew the new ones. */}}
{{- define "helm-tenant-chart.topologySpreadConstraints" -}}
{{- $context := . -}}
{{- $constraints := list -}}
{{- range $key, $topology := dict "zone" "topology.kubernetes.io/zone" "node" "kubernetes.io/hostname" -}}
  {{- with get $context.settings.topologySpread $key -}}
    {{- $constraints = append $constraints (dict
      "maxSkew" 1
      "topologyKey" $topology
      "whenUnsatisfiable" .
      "labelSelector" (dict "matchLabels" (include "helm-tenant-chart.selectorLabels" $context | fromYaml))
      "matchLabelKeys" (list "pod-template-hash")) -}}
  {{- end -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
