{{/* The defaults of values.yaml, by helm-charts/values_table.py: Helm removes a default that is set to null. */}}
{{- define "helm-tenant-chart.defaults" -}}
tenantId: ''
tier: ''
suspended: false
awsAccountId: ''
commonLabels: {}
global:
  imageRegistry: ''
  imagePullSecrets: []
  nodeSelector: {}
  tolerations: []
aws:
  region: ''
  endpointUrl: ''
  endpointUrls: {sqs: '', dynamodb: '', ssm: '', sts: ''}
identity:
  type: auto
  irsa: {partition: aws, rolePath: /}
  secret: {name: '', accessKeyIdKey: AWS_ACCESS_KEY_ID, secretAccessKeyKey: AWS_SECRET_ACCESS_KEY}
auth:
  type: none
  issuer: ''
  audiences: []
  claim: tenant_id
  source: authorization
  jwks: ''
  albArn: ''
  leewaySeconds: 30
  jwksRefreshSeconds: 300
routing:
  type: alb
  hostnames: []
  pool: {catchAll: false, tenantRoutes: true}
  alb:
    groupName: tenants-lb
    scheme: internet-facing
    listenPorts: ''
    certificateArn: ''
    healthCheckIntervalSeconds: 15
    deregistrationDelaySeconds: 30
    annotations: {}
  gateway:
    parentRefs: []
    timeouts: {request: 10s, backendRequest: 10s}
    annotations: {}
  traefik:
    entryPoints: [websecure]
    tls: {enabled: true, secretName: '', certResolver: ''}
    middlewares: []
    annotations: {}
appDefaults:
  replicaCount: 3
  image: {registry: '', repository: '', tag: '', digest: '', pullPolicy: IfNotPresent}
  imagePullSecrets: []
  serviceAccount:
    create: true
    name: ''
    annotations: {}
    roleArn: ''
  podAnnotations: {}
  podLabels: {}
  podSecurityContext: {}
  securityContext: {}
  service:
    type: ClusterIP
    port: 80
    annotations: {}
  resources:
    limits: {cpu: 100m, memory: 128Mi}
    requests: {cpu: 100m, memory: 128Mi}
  autoscaling:
    enabled: false
    minReplicas: 2
    maxReplicas: 10
    targetCPUUtilizationPercentage: 80
    targetMemoryUtilizationPercentage: null
    behavior: {}
  keda: {enabled: false, queueUrl: '', queueUrlFromEnv: '', queueLength: 100, minReplicas: 1, maxReplicas: 10, pollingIntervalSeconds: 30,
    cooldownSeconds: 300, identityOwner: keda}
  affinity: {}
  nodeSelector: {}
  tolerations: []
  topologySpread: {zone: ScheduleAnyway, node: ScheduleAnyway}
  priorityClassName: ''
  podDisruptionBudget: {enabled: true, maxUnavailable: 1}
  ingress:
    className: alb
    pathType: Prefix
    annotations: {}
    tls: []
  probes:
    startup: {periodSeconds: 1, failureThreshold: 60}
    liveness: {periodSeconds: 10, failureThreshold: 3}
    readiness: {periodSeconds: 5, failureThreshold: 2}
  drain: {preStopSleepSeconds: 10, shutdownGraceSeconds: 25, terminationGracePeriodSeconds: null}
  logLevel: info
  logFormat: json
  tenantRatePerSecond: null
  otlpEndpoint: ''
  extraEnv: []
apps:
  producer:
    enabled: true
    envId: ''
    ingress: {enabled: true}
  consumer:
    enabled: true
    envId: ''
    ingress: {enabled: true}
    receiveWaitSeconds: 20
    tenantRoleArn: ''
  payments:
    enabled: false
    envId: ''
    ingress: {enabled: false}
networkPolicy:
  enabled: auto
  clients: []
  proxyNamespaces: []
  metricsClients:
  - namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: monitoring}
  dns:
  - namespaceSelector:
      matchLabels: {kubernetes.io/metadata.name: kube-system}
  - ipBlock: {cidr: 169.254.20.10/32}
  egressCidrs: [0.0.0.0/0]
  ipv6: false
  extraIngress: []
  extraEgress: []
resourceQuota:
  enabled: false
  hard: {requests.cpu: '2', requests.memory: 2Gi, limits.cpu: '2', limits.memory: 2Gi, pods: '20', services.loadbalancers: '0',
    services.nodeports: '0'}
limitRange:
  enabled: false
  limits:
  - type: Container
    default: {cpu: 100m, memory: 128Mi}
    defaultRequest: {cpu: 100m, memory: 128Mi}
    max: {cpu: '1', memory: 1Gi}
metrics:
  serviceMonitor:
    enabled: false
    interval: 30s
    labels: {}
  podMonitor:
    enabled: false
    interval: 30s
    labels: {}
  prometheusRule:
    enabled: false
    labels: {}
    alertLabels: {}
    queueLagSeconds: 300
    outboxAgeSeconds: 300
    errorRatio: 0.05
  dashboard:
    enabled: false
    namespace: ''
    labels: {grafana_dashboard: '1'}
infra:
  enabled: false
  tfVersion: terraform-v0-0-1
  sourceKind: GitRepository
  namespace: flux-system
  path: ./terraform/modules/tenant-apps
  interval: 5m
  retryInterval: 1m
  approvePlan: auto
  destroyResourcesOnDeletion: false
  deleteData: false
  retain: []
  guardUpgrades: true
  serviceAccountName: ''
  runnerEnv: []
  vars: {}
tests:
  enabled: true
  image: {registry: docker.io, repository: curlimages/curl, tag: 8.20.0, digest: '', pullPolicy: IfNotPresent}
  timeoutSeconds: 60
{{- end -}}
