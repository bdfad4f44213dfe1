{{/* The defaults of values.yaml, by helm-charts/values_table.py: Helm removes a default that is set to null. */}}
{{- define "application-chart.defaults" -}}
nameOverride: ''
fullnameOverride: ''
commonLabels: {}
global:
  imageRegistry: ''
  imagePullSecrets: []
  nodeSelector: {}
  tolerations: []
replicaCount: 1
image: {registry: '', repository: '', tag: '', digest: '', pullPolicy: IfNotPresent}
imagePullSecrets: []
command: []
args: []
env: []
envFrom: []
writablePaths: [/tmp]
serviceAccount:
  create: true
  annotations: {}
  name: ''
  automountToken: false
podAnnotations: {}
podLabels: {}
podSecurityContext: {}
securityContext: {}
containerPort: null
service:
  type: ClusterIP
  port: 80
  annotations: {}
ingress:
  enabled: false
  className: ''
  annotations: {}
  hosts:
  - host: app.example.com
    paths:
    - {path: /, pathType: Prefix}
  tls: []
httpRoute:
  enabled: false
  parentRefs: []
  hostnames: []
  path: /
  timeouts: {request: '', backendRequest: ''}
  annotations: {}
resources:
  limits: {cpu: 100m, memory: 128Mi}
  requests: {cpu: 100m, memory: 128Mi}
autoscaling:
  enabled: false
  minReplicas: 1
  maxReplicas: 10
  targetCPUUtilizationPercentage: 80
  targetMemoryUtilizationPercentage: null
  behavior: {}
podDisruptionBudget: {enabled: true, maxUnavailable: 1}
nodeSelector: {}
tolerations: []
affinity: {}
topologySpread: {zone: ScheduleAnyway, node: ScheduleAnyway}
priorityClassName: ''
probes:
  port: http
  startup: {path: /, periodSeconds: 2, failureThreshold: 30}
  liveness: {path: /, periodSeconds: 10, failureThreshold: 3}
  readiness: {path: /, periodSeconds: 5, failureThreshold: 3}
drain: {preStopSleepSeconds: 5, terminationGracePeriodSeconds: 30}
networkPolicy:
  enabled: false
  clients: []
  extraIngress: []
  dns:
  - namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: kube-system}
  - ipBlock: {cidr: 169.254.20.10/32}
  egressCidrs: [0.0.0.0/0]
  podIdentity: true
  extraEgress: []
metrics:
  port: http
  path: /metrics
  podMonitor:
    enabled: false
    interval: 30s
    labels: {}
  serviceMonitor:
    enabled: false
    interval: 30s
    labels: {}
tests:
  enabled: true
  path: /
  image: {registry: docker.io, repository: curlimages/curl, tag: 8.20.0, digest: '', pullPolicy: IfNotPresent}
  timeoutSeconds: 60
{{- end -}}
