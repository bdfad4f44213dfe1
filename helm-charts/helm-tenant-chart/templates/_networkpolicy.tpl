{{/* Parts of the NetworkPolicies. */}}

{{/* Selects the app pods of this environment. Pods of `helm test` have no label `tenantry/app`. */}}
{{- define "helm-tenant-chart.appsSelector" -}}
matchLabels:
  tenantry/tenant: {{ .Values.tenantId | quote }}
matchExpressions:
  - key: tenantry/app
    operator: Exists
{{- end -}}

{{/* Clients that may send requests, as a list of peers. */}}
{{- define "helm-tenant-chart.clients" -}}
{{- $policy := .Values.networkPolicy -}}
{{- $routing := .Values.routing -}}
{{- if $policy.clients -}}
{{- toYaml $policy.clients -}}
{{- else if include "helm-tenant-chart.lacksClients" . -}}
{{- else if eq $routing.type "alb" -}}
# Tokens prove the tenant, so any address of the VPC may send requests: the private ranges of RFC 1918 and RFC 6598.
{{- range list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
{{- if $policy.ipv6 }}
# A VPC's IPv6 addresses are Amazon's public ones, or private ones of RFC 4193.
- ipBlock:
    cidr: "::/0"
{{- end }}
{{- else -}}
{{- range include "helm-tenant-chart.proxyNamespaces" . | fromYamlArray }}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ . | quote }}
{{- end }}
{{- end -}}
{{- end -}}

{{/*
"true" if requests come from an ALB, nothing proves their tenant, and no value names the load balancer's subnets. A silo without
routes has no such requests; a pool gets them over its tenants' routes.
*/}}
{{- define "helm-tenant-chart.lacksClients" -}}
{{- if and (eq .Values.routing.type "alb") (eq .Values.auth.type "none") (not .Values.networkPolicy.clients) -}}
{{- $isRouted := include "helm-tenant-chart.isPool" . -}}
{{- range $app := keys .Values.apps -}}
  {{- $context := dict "root" $ "app" $app -}}
  {{- include "helm-tenant-chart.fillContext" $context -}}
  {{- if and $context.settings.enabled (include "helm-tenant-chart.hasRoute" $context) -}}{{- $isRouted = "true" -}}{{- end -}}
{{- end -}}
{{- $isRouted -}}
{{- end -}}
{{- end -}}

{{/* The namespaces of the proxies that send requests, as a list. A Gateway without a namespace is in the route's own. */}}
{{- define "helm-tenant-chart.proxyNamespaces" -}}
{{- $namespaces := .Values.networkPolicy.proxyNamespaces -}}
{{- if and (not $namespaces) (eq .Values.routing.type "gateway") -}}
{{- range .Values.routing.gateway.parentRefs -}}
{{- $namespaces = append $namespaces (.namespace | default $.Values.tenantId) -}}
{{- end -}}
{{- else if and (not $namespaces) (eq .Values.routing.type "traefik") -}}
{{- $namespaces = list "traefik" -}}
{{- end -}}
{{- uniq $namespaces | toYaml -}}
{{- end -}}

{{/* DNS egress. No rule without peers: an empty list of peers would allow all. */}}
{{- define "helm-tenant-chart.dnsEgress" -}}
{{- with .Values.networkPolicy.dns -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end -}}
{{- end -}}

{{/*
Egress to HTTPS and to each configured endpoint. An endpoint in the cluster (<service>.<namespace>.svc) is allowed by its
namespace, on every port: policies apply to the pod's port, which can differ from the Service's. Any other endpoint is allowed
by its port.
*/}}
{{- define "helm-tenant-chart.httpsEgress" -}}
{{- $ports := list 443 -}}
{{- $namespaces := list -}}
{{- range $url := include "helm-tenant-chart.endpoints" . | fromYamlArray -}}
  {{- $parsed := urlParse $url -}}
  {{- $host := regexReplaceAll ":[0-9]+$" $parsed.host "" -}}
  {{- $labels := splitList "." $host -}}
  {{- if and (ge (len $labels) 3) (eq (index $labels 2) "svc") -}}
    {{- $namespaces = append $namespaces (index $labels 1) -}}
  {{- else -}}
    {{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $parsed.host) | default (ternary "443" "80" (eq $parsed.scheme "https")) -}}
    {{- $ports = append $ports (int $port) -}}
  {{- end -}}
{{- end -}}
{{- $cidrs := .Values.networkPolicy.egressCidrs -}}
{{- if and .Values.networkPolicy.ipv6 (not (has "::/0" $cidrs)) -}}
{{- $cidrs = append $cidrs "::/0" -}}
{{- end -}}
{{- with $cidrs -}}
- to:
    {{- range . }}
    - ipBlock:
        cidr: {{ . | quote }}
        {{- with include "helm-tenant-chart.forbiddenWithin" . | fromYamlArray }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    {{- end }}
  ports:
    {{- range uniq $ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}
{{- range uniq $namespaces }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Every URL that this release configures its apps to call. */}}
{{- define "helm-tenant-chart.endpoints" -}}
{{- $urls := concat (list .Values.aws.endpointUrl) (values .Values.aws.endpointUrls) -}}
{{- if eq .Values.auth.type "jwt" -}}{{- $urls = append $urls .Values.auth.jwks -}}{{- end -}}
{{- range $app := keys .Values.apps -}}
  {{- $context := dict "root" $ "app" $app -}}
  {{- include "helm-tenant-chart.fillContext" $context -}}
  {{- if $context.settings.enabled -}}{{- $urls = append $urls $context.settings.otlpEndpoint -}}{{- end -}}
{{- end -}}
{{- compact $urls | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/*
Lists the parts of an address range that no pod may reach: link-local addresses and, for IPv6, Amazon's fd00:ec2::/32. Both
contain instance metadata (169.254.169.254, fd00:ec2::254), which serves the node's role. A range contains another if its
prefix is shorter and both are equal over its length. The first 32 bits decide that.
*/}}
{{- define "helm-tenant-chart.forbiddenWithin" -}}
{{- $length := splitList "/" . | last | int -}}
{{- $forbidden := ternary (list "fd00:ec2::/32" "fe80::/10") (list "169.254.0.0/16") (contains ":" .) -}}
{{- $held := list -}}
{{- $size := 1 -}}
{{- range until (max 0 (sub 32 $length) | int) -}}{{- $size = mul $size 2 -}}{{- end -}}
{{- $start := div (include "helm-tenant-chart.first32Bits" . | int64) $size -}}
{{- range $forbidden -}}
  {{- $isShorter := lt $length (splitList "/" . | last | int) -}}
  {{- if and $isShorter (eq $start (div (include "helm-tenant-chart.first32Bits" . | int64) $size)) -}}
    {{- $held = append $held . -}}
  {{- end -}}
{{- end -}}
{{- toYaml $held -}}
{{- end -}}

{{/* The first 32 bits of a range's address as a number: four bytes of IPv4, two groups of IPv6. */}}
{{- define "helm-tenant-chart.first32Bits" -}}
{{- $address := splitList "/" . | first -}}
{{- $number := 0 -}}
{{- if contains ":" $address -}}
  {{- $groups := concat (splitList "::" $address | first | splitList ":" | compact) (list "0" "0") -}}
  {{- range slice $groups 0 2 -}}{{- $number = add (mul $number 65536) (printf "0x%s" . | int64) -}}{{- end -}}
{{- else -}}
  {{- range splitList "." $address -}}{{- $number = add (mul $number 256) (int64 .) -}}{{- end -}}
{{- end -}}
{{- $number -}}
{{- end -}}
