# tenant_id and the enable_ variables are those of eks-saas-gitops. Booleans may also be strings, as tofu-controller sends them.

variable "tenant_id" {
  description = "Id of the tenant or the pool (`pool-1`): a DNS label of 1 to 32 characters. A changed id is another tenant."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", var.tenant_id))
    error_message = "tenant_id is ${jsonencode(var.tenant_id)}: use 1 to 32 of a-z, 0-9 and -, beginning and ending with a letter or digit."
  }

  validation {
    condition = !contains(
      [
        "amazon", "argo", "argocd", "aws", "cattle-system", "cert-manager", "cilium", "cilium-system",
        "crossplane-system", "default", "eks", "envoy-gateway-system", "external-dns", "external-secrets", "flux",
        "flux-system", "gatekeeper-system", "gateway", "grafana", "harbor", "ingress-nginx", "istio-system",
        "karpenter", "keda", "kube", "kubecost", "kubernetes", "kyverno", "linkerd", "local-path-storage", "logging",
        "loki", "metallb-system", "monitoring", "observability", "onboarding-service", "opencost", "pool", "prometheus", "tenant-secrets",
        "tenantry", "tigera-operator", "traefik", "vault", "velero"
      ],
      var.tenant_id
    ) && !can(regex("^(amazon|argo|argocd|aws|flux|kube|kubernetes|tenantry)-", var.tenant_id))
    error_message = "tenant_id is ${jsonencode(var.tenant_id)}, a name reserved for the cluster: choose another."
  }
}

variable "enable_producer" {
  description = "Whether the producer runs in the tenant's silo, or in the pool if this is a pool."
  type        = bool
  default     = false
  nullable    = false
}

variable "enable_consumer" {
  description = "Whether the consumer runs in the tenant's silo, with its own queue and table."
  type        = bool
  default     = false
  nullable    = false
}

variable "enable_payments" {
  description = "Whether payments run in the tenant's silo, with their own table."
  type        = bool
  default     = false
  nullable    = false
}

variable "pool_id" {
  description = "Pool that serves the apps outside the tenant's silo. Apply this module for the pool before its tenants."
  type        = string
  default     = "pool-1"
  nullable    = false

  validation {
    condition     = can(regex("^pool-[a-z0-9-]{0,26}[a-z0-9]$", var.pool_id))
    error_message = "pool_id is ${jsonencode(var.pool_id)}: use pool- followed by a-z, 0-9 and -, at most 32 characters in all."
  }
}

variable "tier" {
  description = "`basic`, `advanced` or `premium`. Empty: derived from the apps in the tenant's silo. A pool has no tier."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "basic", "advanced", "premium"], var.tier)
    error_message = "tier is ${jsonencode(var.tier)}: use basic, advanced, premium, or leave it empty."
  }
}

variable "suspended" {
  description = "Whether the services refuse the tenant's requests. Accepted messages are still stored, and no resource is removed."
  type        = bool
  default     = false
  nullable    = false
}

variable "generation" {
  description = "Which owner of its id the tenant is: the number that `tenantctl onboard` writes. Empty: the first. Never change it: the tenant's events and payments so far would no longer be its own."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^([1-9][0-9]{0,12})?$", var.generation))
    error_message = "generation is ${jsonencode(var.generation)}: use a number from 1 on, at most 13 digits, or leave it empty."
  }
}

variable "retain" {
  description = "Apps, `consumer` or `payments`, whose queue and tables stay although the app no longer runs in the silo. The parameters then name the pool's queue and tables."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for app in var.retain : contains(["consumer", "payments"], app)])
    error_message = "retain is ${jsonencode(var.retain)}: use only consumer and payments."
  }
}

variable "delete_data" {
  description = "Lifts the deletion protection of the tables, and deletes nothing itself. A later destroy, or turning an app off, then deletes queue and table with all data."
  type        = bool
  default     = false
  nullable    = false
}

variable "identity" {
  description = "Source of the pods' AWS credentials: `pod_identity` (EKS Pod Identity), `irsa`, or `none` (no roles are made)."
  type        = string
  default     = "pod_identity"
  nullable    = false

  validation {
    condition     = contains(["pod_identity", "irsa", "none"], var.identity)
    error_message = "identity is ${jsonencode(var.identity)}: use pod_identity, irsa or none."
  }
}

variable "cluster_name" {
  description = "EKS cluster of the Pod Identity associations. Required for identity `pod_identity`."
  type        = string
  default     = ""
  nullable    = false
}

variable "oidc_provider_arn" {
  description = "ARN of the IAM OIDC provider of the cluster. Required for identity `irsa`."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.oidc_provider_arn == "" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:oidc-provider/.+", var.oidc_provider_arn))
    error_message = "oidc_provider_arn is ${jsonencode(var.oidc_provider_arn)}: use the ARN of an IAM OIDC provider, arn:aws:iam::123456789012:oidc-provider/…"
  }
}

variable "namespaces" {
  description = "Namespace of an app's service account, by app. Default: the tenant's own namespace."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for app in keys(var.namespaces) : contains(["producer", "consumer", "payments"], app)])
    error_message = "namespaces has the keys ${jsonencode(keys(var.namespaces))}: use only producer, consumer and payments."
  }
}

variable "permissions_boundary" {
  description = "Name of the IAM policy, in the same account, that is the permissions boundary of every role made here. Empty: no boundary. terraform/platform makes `tenantry-tenants`, and its runner may make roles only with it."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{0,128}$", var.permissions_boundary))
    error_message = "permissions_boundary is ${jsonencode(var.permissions_boundary)}: use the policy's name, not its ARN."
  }
}

variable "role_path" {
  description = "IAM path of every role made here. terraform/platform's runner may only touch roles below `/tenantry/`."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9+=,.@_-]+/)*$", var.role_path)) && length(var.role_path) <= 512
    error_message = "role_path is ${jsonencode(var.role_path)}: use a path that begins and ends with /, for example /tenantry/."
  }
}

variable "pooled_reader_principal_arns" {
  description = "For a pool: ARNs of roles that may read its tables for one tenant at a time, by assuming `reader-role-<pool>` with the session tag `tenant`. Empty: no role may."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tenant_scoped_reads" {
  description = "For a pool: whether its consumer reads events only for one tenant at a time, as `reader-role-<pool>`. First set the chart's `apps.consumer.tenantRoleArn` (`TENANT_ROLE_ARN`) to the output `reader_role_arn`, or listings end with 503."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "ARN of the KMS key of queues and tables. Empty: the default encryption of SQS and DynamoDB."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.kms_key_arn == "" || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+", var.kms_key_arn))
    error_message = "kms_key_arn is ${jsonencode(var.kms_key_arn)}: use the ARN of a key, not of an alias, arn:aws:kms:eu-west-1:123456789012:key/…"
  }
}

variable "ttl_attribute" {
  description = "Attribute of the consumer's items with the time of their deletion by DynamoDB, in seconds since 1970. Empty: items are never deleted. The services do not write this attribute."
  type        = string
  default     = ""
  nullable    = false
}

variable "message_retention_seconds" {
  description = "Seconds that an event stays in the queue until a consumer stores it."
  type        = number
  default     = 345600
  nullable    = false

  # The dead-letter queue keeps a message until 14 days after it was first sent. A shorter time here leaves days there.
  validation {
    condition     = var.message_retention_seconds >= 3600 && var.message_retention_seconds <= 864000
    error_message = "message_retention_seconds is ${var.message_retention_seconds}: use 3600 (an hour) to 864000 (ten days)."
  }
}

variable "tags" {
  description = "Tags of every resource, beside the module's own."
  type        = map(string)
  default     = {}
  nullable    = false

  # The pool's producer may send to every queue that has its name in such a tag.
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "tenantry/")])
    error_message = "tags has a key that begins with tenantry/, on which permissions depend: rename the key."
  }
}
