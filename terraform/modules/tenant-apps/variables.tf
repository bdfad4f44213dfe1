# The first four are those of eks-saas-gitops. tofu-controller sends "true" as readily as true: both are booleans here.

variable "tenant_id" {
  description = "The tenant, or the pool (`pool-1`): a DNS label of 1 to 32 characters, as the services take it. Changing it makes another tenant."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$", var.tenant_id))
    error_message = "tenant_id has 1 to 32 characters, only a-z, 0-9 and -, and starts and ends with a letter or digit."
  }

  validation {
    condition = !contains(
      ["amazon", "argo", "argocd", "default", "flux", "flux-system", "kube", "kubernetes", "pool", "tenantry"],
      var.tenant_id
    ) && !can(regex("^(kube|argo|argocd|flux|aws)-", var.tenant_id))
    error_message = "tenant_id is a reserved name: it would be taken for a part of the cluster."
  }
}

variable "enable_producer" {
  description = "The producer runs in the tenant's own silo (or, for a pool, in the pool)."
  type        = bool
  default     = false
  nullable    = false
}

variable "enable_consumer" {
  description = "The consumer runs in the tenant's own silo, with a queue and a table of its own."
  type        = bool
  default     = false
  nullable    = false
}

variable "enable_payments" {
  description = "Payments run in the tenant's own silo, with a table of their own."
  type        = bool
  default     = false
  nullable    = false
}

variable "pool_id" {
  description = "The pool that serves what the tenant has not for itself. Its parameters must exist before those of its tenants."
  type        = string
  default     = "pool-1"
  nullable    = false

  validation {
    condition     = can(regex("^pool-[a-z0-9-]{0,26}[a-z0-9]$", var.pool_id))
    error_message = "pool_id is `pool-` and more, at most 32 characters of a-z, 0-9 and -."
  }
}

variable "tier" {
  description = "`basic`, `advanced` or `premium`. Empty: derived from what runs in the tenant's silo. A pool has none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "basic", "advanced", "premium"], var.tier)
    error_message = "tier is basic, advanced, premium, or empty."
  }
}

variable "suspended" {
  description = "The services refuse the tenant's requests. What it sent before is still stored; nothing is taken away."
  type        = bool
  default     = false
  nullable    = false
}

variable "retain" {
  description = "`consumer`, `payments`: whose queue and tables stay though the app no longer runs in the silo. Nothing is sent there: the parameters name the pool's."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for app in var.retain : contains(["consumer", "payments"], app)])
    error_message = "retain lists consumer and payments, nothing else."
  }
}

variable "delete_data" {
  description = "Lifts the deletion protection of the tables. Nothing is deleted by it; a later destroy, or turning an app off, then deletes queue and table with everything in them."
  type        = bool
  default     = false
  nullable    = false
}

variable "identity" {
  description = "How the apps' pods become their roles: `pod_identity` (EKS Pod Identity), `irsa`, or `none`: no roles are made."
  type        = string
  default     = "pod_identity"
  nullable    = false

  validation {
    condition     = contains(["pod_identity", "irsa", "none"], var.identity)
    error_message = "identity is pod_identity, irsa or none."
  }
}

variable "cluster_name" {
  description = "The EKS cluster of the Pod Identity associations. Required for identity `pod_identity`."
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
    error_message = "oidc_provider_arn is the ARN of an IAM OIDC provider: arn:aws:iam::123456789012:oidc-provider/…"
  }
}

variable "namespaces" {
  description = "Namespace of an app's service account, by app, where it is not the tenant's own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for app in keys(var.namespaces) : contains(["producer", "consumer", "payments"], app)])
    error_message = "namespaces has the keys producer, consumer and payments, and no others."
  }
}

variable "permissions_boundary" {
  description = "Name of the policy, in the same account, that bounds every role made here, whatever their own policies say. Empty: none. terraform/platform makes `tenantry-tenants`, and its runner may make no role without it."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9+=,.@_-]{0,128}$", var.permissions_boundary))
    error_message = "permissions_boundary is a policy's name, not its ARN."
  }
}

variable "pooled_reader_principal_arns" {
  description = "For a pool: roles that may read its tables for one tenant at a time, by assuming `reader-role-<pool>` with the session tag `tenant`. Empty: no such role."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "tenant_scoped_reads" {
  description = "For a pool: its consumer reads events for one tenant at a time, as `reader-role-<pool>`, and in no other way. Give it the output `reader_role_arn` first (the chart's `apps.consumer.tenantRoleArn`, `TENANT_ROLE_ARN`), or listings end with 503."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "KMS key for queues and tables. Empty: SQS's own encryption, and DynamoDB's."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.kms_key_arn == "" || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+", var.kms_key_arn))
    error_message = "kms_key_arn is the ARN of a key (not of an alias): arn:aws:kms:eu-west-1:123456789012:key/…"
  }
}

variable "ttl_attribute" {
  description = "Attribute of the consumer's items that holds when DynamoDB deletes them, in seconds since 1970. Empty: never. The services write none; it is for teams that do."
  type        = string
  default     = ""
  nullable    = false
}

variable "message_retention_seconds" {
  description = "How long an event waits in the queue for a consumer."
  type        = number
  default     = 345600
  nullable    = false

  # The dead-letter queue keeps 14 days, counted from when the message was first sent: less here leaves time there.
  validation {
    condition     = var.message_retention_seconds >= 3600 && var.message_retention_seconds <= 864000
    error_message = "message_retention_seconds is 3600 (an hour) to 864000 (ten days)."
  }
}

variable "tags" {
  description = "Tags of everything made here, beside the module's own."
  type        = map(string)
  default     = {}
  nullable    = false

  # The pool's producer may send to whatever queue carries its name in such a tag.
  validation {
    condition     = alltrue([for key in keys(var.tags) : !startswith(key, "tenantry/")])
    error_message = "tags that start with tenantry/ are the module's own: permissions depend on them."
  }
}
